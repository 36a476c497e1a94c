package main

import (
	"errors"
	"io"
	"sync"
	"time"
)

// errInterrupted is returned by the first Read of a source that sees the
// interruption, and by a later one that has waited in vain.
var errInterrupted = errors.New("interrupted")

// finishWithin is how long an interrupted source waits for the rest of a line.
const finishWithin = time.Second

// source is standard input that can be interrupted. What Read has returned is
// the reader's to hand in, so after an interruption Read is called only to finish
// a line that has begun, and takes no more than it can help. Read is for one
// goroutine, Interrupt for any.
type source interface {
	io.Reader
	Interrupt()
	Close() error // gives back what the source has made, not the input itself
}

// newPipe returns a source for a reader that cannot be waited for together with
// an interruption: a goroutine reads, one call for each that is asked for. If the
// interruption comes while it does, that goroutine stays behind until the read
// returns; nobody can end it earlier.
func newPipe(r io.Reader) source {
	return &pipe{r: r, stop: make(chan struct{}), got: make(chan piece, 1)}
}

type pipe struct {
	r    io.Reader
	once sync.Once
	stop chan struct{} // closed by Interrupt
	got  chan piece

	// Owned by Read.
	asked bool
	rest  piece
	late  <-chan time.Time // nil until the interruption has been seen
}

type piece struct {
	b   []byte
	err error
}

func (p *pipe) Interrupt()   { p.once.Do(func() { close(p.stop) }) }
func (p *pipe) Close() error { return nil }

func (p *pipe) Read(b []byte) (int, error) {
	if len(p.rest.b) == 0 && p.rest.err == nil {
		if err := p.wait(len(b)); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.rest.b)
	p.rest.b = p.rest.b[n:]
	if len(p.rest.b) > 0 {
		return n, nil
	}
	err := p.rest.err
	p.rest.err = nil
	return n, err
}

// wait fills rest.
func (p *pipe) wait(size int) error {
	stop := p.stop
	if p.late != nil {
		stop = nil
	}
	select {
	case <-stop: // before a new read is asked for
		p.late = time.After(finishWithin)
		return errInterrupted
	default:
	}
	if !p.asked {
		p.asked = true
		go func() {
			b := make([]byte, size)
			n, err := p.r.Read(b)
			p.got <- piece{b[:n], err}
		}()
	}
	select {
	case p.rest = <-p.got:
		p.asked = false
		return nil
	case <-stop:
		p.late = time.After(finishWithin)
		return errInterrupted
	case <-p.late:
		return errInterrupted
	}
}
