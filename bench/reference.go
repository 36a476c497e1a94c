package main

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
)

// reference is the least that a durable queue can do: one file, one goroutine
// that appends all that waits and syncs it, then answers. Each message has its
// length and a checksum in front. Nothing is ever read or deleted.
type reference struct {
	file  *os.File
	ahead bool // blocks are set aside before they are written
	wake  chan struct{}
	ended chan struct{}

	// Owned by the writer.
	end, reserved int64

	syncs atomic.Int64

	mu      sync.Mutex
	waiting *commit
	closed  bool
}

// commit is what one sync covers.
type commit struct {
	buf  []byte
	puts int
	done chan struct{}
	err  error // once done is closed
}

const reserve = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newReference(path string, ahead bool) (*reference, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r := &reference{file: f, ahead: ahead, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go r.write() // close waits for it
	return r, nil
}

// put returns once the bodies are on disk.
func (r *reference) put(bodies ...[]byte) error {
	r.mu.Lock()
	c := r.waiting
	if c == nil {
		c = &commit{done: make(chan struct{})}
		r.waiting = c
	}
	for _, b := range bodies {
		c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(b)))
		c.buf = binary.BigEndian.AppendUint32(c.buf, crc32.Checksum(b, castagnoli))
		c.buf = append(c.buf, b...)
	}
	c.puts++
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	<-c.done
	return c.err
}

// write commits what waits. As the queue does, it lets those whom the last commit
// woke come back before it seals the next.
func (r *reference) write() {
	defer close(r.ended)
	for range r.wake {
		r.mu.Lock()
		for i, last := 0, -1; i < 8 && r.waiting != nil && r.waiting.puts != last; i++ {
			last = r.waiting.puts
			r.mu.Unlock()
			runtime.Gosched()
			r.mu.Lock()
		}
		c := r.waiting
		r.waiting = nil
		closed := r.closed
		r.mu.Unlock()
		if c != nil {
			c.err = r.store(c.buf)
			close(c.done)
		}
		if closed {
			return
		}
	}
}

func (r *reference) store(b []byte) error {
	if r.ahead && r.end+int64(len(b)) > r.reserved {
		if err := setAside(r.file, r.reserved, reserve); err != nil {
			return err
		}
		r.reserved += reserve
	}
	if _, err := r.file.WriteAt(b, r.end); err != nil {
		return err
	}
	r.end += int64(len(b))
	r.syncs.Add(1)
	return dataSync(r.file)
}

// close ends the writer.
func (r *reference) close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	<-r.ended
	return r.file.Close()
}
