//go:build !windows

package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// newSource returns r as a source. A file is polled together with a pipe of our
// own, so that no goroutine stays in a read and no flag of a file that is shared
// with other processes is touched.
func newSource(r io.Reader) (source, error) {
	f, ok := r.(*os.File)
	if !ok {
		return newPipe(r), nil
	}
	stopped, stop, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &polled{f: f, stopped: stopped, stop: stop}, nil
}

type polled struct {
	f       *os.File
	stopped *os.File // readable once the source is interrupted

	mu   sync.Mutex
	stop *os.File // nil once the source is interrupted

	until time.Time // owned by Read: when it gives up after an interruption
}

func (p *polled) Interrupt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop.Close()
		p.stop = nil
	}
}

func (p *polled) Close() error {
	p.Interrupt()
	return p.stopped.Close()
}

func (p *polled) Read(b []byte) (int, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(p.f.Fd()), Events: unix.POLLIN}, {Fd: int32(p.stopped.Fd()), Events: unix.POLLIN}}
		wait := -1
		if !p.until.IsZero() {
			left := time.Until(p.until)
			if left <= 0 {
				return 0, errInterrupted
			}
			// A byte at a time: what stands behind the line's end is left where it is.
			fds, wait, b = fds[:1], int(left.Milliseconds())+1, b[:1]
		}
		n, err := unix.Poll(fds, wait)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case len(fds) > 1 && fds[1].Revents != 0:
			p.until = time.Now().Add(finishWithin)
			return 0, errInterrupted
		case n > 0:
			return p.f.Read(b)
		}
	}
}
