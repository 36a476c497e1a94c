package faultnet

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// window is how many bytes of a direction a connection holds unless it is told.
const window = 64 << 10

// packet is how many bytes arrive together on a line that has a rate.
const packet = 1 << 10

// link is one connection: two pipes under the switchboard's lock.
type link struct {
	f     *Faults
	wake  *sync.Cond // with f.mu; signals every change of the link or the board
	pipes [2]pipe
	err   error  // not nil: the connection was reset
	onEnd func() // called with f.mu held when the link is reset; may be nil
}

// pipe is one direction of a link.
type pipe struct {
	chunks    []chunk
	size      int       // bytes in chunks
	closed    bool      // the writer has closed
	lossy     bool      // bytes or the end have vanished, so nothing later may arrive
	abandoned bool      // the reader has closed
	free      time.Time // when a line with a rate has carried all that is in chunks
}

type chunk struct {
	at time.Time // when it arrives
	b  []byte
}

// newLink puts a link on the board; f.mu is held.
func newLink(f *Faults) *link {
	l := &link{f: f, wake: sync.NewCond(&f.mu)}
	f.links[l] = struct{}{}
	return l
}

// reset ends the link for both sides; f.mu is held.
func (l *link) reset(err error) {
	if l.err == nil {
		l.err = err
		delete(l.f.links, l)
		l.lose()
		if l.onEnd != nil {
			l.onEnd()
		}
		l.wake.Broadcast()
	}
}

// lose counts what is under way when the link ends; f.mu is held.
func (l *link) lose() {
	for d := range l.pipes {
		l.f.lost[d] += int64(l.pipes[d].size)
		l.pipes[d].size, l.pipes[d].chunks = 0, nil
	}
}

// write puts b into the pipe of a direction, waiting for room.
func (l *link) write(d Direction, b []byte, until *deadline) (n int, err error) {
	f, p := l.f, &l.pipes[d]
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(b) > 0 {
		switch {
		case l.err != nil:
			return n, l.err
		case p.closed:
			return n, net.ErrClosed
		case until.passed():
			return n, os.ErrDeadlineExceeded
		case f.swallowed[d] || p.lossy:
			p.lossy = true
			f.lost[d] += int64(len(b))
			return n + len(b), nil
		case p.abandoned:
			// The peer's answer, a reset, takes the other direction.
			if f.swallowed[d.other()] || f.stalled[d.other()] || f.stalled[d] {
				p.lossy = true
				f.lost[d] += int64(len(b))
				return n + len(b), nil
			}
			l.reset(errReset)
		case p.size >= f.buffer:
			l.wake.Wait()
		default:
			part := b[:min(len(b), f.buffer-p.size)]
			at := time.Now()
			if rate := f.rate[d]; rate > 0 {
				part = part[:min(len(part), packet)]
				if p.free.Before(at) {
					p.free = at
				}
				p.free = p.free.Add(time.Duration(len(part)) * time.Second / time.Duration(rate))
				at = p.free
			}
			at = at.Add(f.delay)
			p.chunks = append(p.chunks, chunk{at, append([]byte(nil), part...)})
			p.size += len(part)
			n, b = n+len(part), b[len(part):]
			if wait := time.Until(at); wait > 0 {
				time.AfterFunc(wait, l.wake.Broadcast)
			}
			l.wake.Broadcast()
		}
	}
	return n, nil
}

// read takes bytes out of the pipe of a direction, waiting for some.
func (l *link) read(d Direction, b []byte, until *deadline) (int, error) {
	f, p := l.f, &l.pipes[d]
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case p.abandoned:
			return 0, net.ErrClosed
		case l.err != nil:
			return 0, l.err
		case until.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case f.stalled[d]:
			l.wake.Wait()
		case len(p.chunks) > 0 && !p.chunks[0].at.After(time.Now()):
			return l.take(d, b), nil
		case len(p.chunks) == 0 && p.closed && !p.lossy:
			return 0, io.EOF
		default:
			l.wake.Wait()
		}
	}
}

// take copies from the first chunk, which has arrived, to b; f.mu is held.
func (l *link) take(d Direction, b []byte) int {
	f, p := l.f, &l.pipes[d]
	c := &p.chunks[0]
	n := f.pick(min(len(b), len(c.b)))
	if left := f.cutAfter[d]; left >= 0 {
		n = int(min(int64(n), left))
	}
	copy(b, c.b[:n])
	if c.b = c.b[n:]; len(c.b) == 0 {
		p.chunks = p.chunks[1:]
	}
	p.size -= n
	f.carried[d] += int64(n)
	if f.cutAfter[d] >= 0 {
		if f.cutAfter[d] -= int64(n); f.cutAfter[d] == 0 {
			f.cutAfter[d] = -1
			l.reset(errReset)
		}
	}
	l.wake.Broadcast()
	return n
}

// close ends the writing of a direction: its reader gets what is under way, then
// io.EOF.
func (l *link) close(d Direction) {
	f, p := l.f, &l.pipes[d]
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if f.swallowed[d] || p.lossy {
		p.lossy = true
	}
	l.end()
}

// abandon ends the reading of a direction.
func (l *link) abandon(d Direction) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.pipes[d].abandoned = true
	l.end()
}

// end takes a link that both sides have left off the board; f.mu is held.
func (l *link) end() {
	if a, b := &l.pipes[Up], &l.pipes[Down]; a.closed && b.closed && a.abandoned && b.abandoned {
		delete(l.f.links, l)
		l.lose()
	}
	l.wake.Broadcast()
}

// deadline is a point in time after which an operation of a link fails. All of it
// is guarded by the switchboard's lock.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set moves the deadline of an operation on l; f.mu is not held.
func (d *deadline) set(l *link, at time.Time) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = at; !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), l.wake.Broadcast)
	}
	l.wake.Broadcast()
}

func (d *deadline) passed() bool {
	return d != nil && !d.at.IsZero() && !time.Now().Before(d.at)
}
