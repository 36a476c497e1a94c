package transport

import (
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// write puts out what the pump left in the outbox, and pings and pongs, until
// the link ends.
func (l *link) write() {
	looked := time.Now() // at the announcements
	var spare []byte
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if l.due(now, looked) {
			looked = now
			if err := l.ping(now); err != nil {
				l.fail(err)
				return
			}
		}
		buf, next := l.outgoing(spare, now, looked)
		if len(buf) > 0 {
			if !l.flush(buf) {
				return
			}
			spare = buf[:0]
			continue
		}
		timer.Reset(next.Sub(now))
		select {
		case <-l.ready:
		case <-timer.C:
		case <-l.dead:
			return
		}
	}
}

// due reports whether to look at the announcements and perhaps ping.
func (l *link) due(now, looked time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.greet || l.pacer.Due(now, false) || now.Sub(looked) >= l.pacer.Interval()
}

// ping adds a ping with the announcements to make, if one of them has changed or
// the link needs a ping. It fails if the collector is dead.
func (l *link) ping(now time.Time) error {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	news := false
	var list []wire.Announcement
	for _, o := range open {
		a, ok := o.source.Announce(o.epoch)
		if !ok {
			continue
		}
		changed := a.Next != o.last.Next || a.BacklogBytes != o.last.BacklogBytes
		if changed || a.BacklogBytes > 0 { // the age of a backlog is news as well, but no reason for a ping
			a.Stream = o.number
			list = append(list, a)
		}
		o.last, news = a, news || changed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pacer.Dead(now) {
		return asFailure(errSilent, "link lost")
	}
	if l.leaving || !news && !l.greet && !l.pacer.Due(now, false) {
		return nil
	}
	l.greet = false
	// Behind what waits: the resumes of the streams that it announces may be there.
	l.out = wire.AppendPing(l.out, l.pacer.Ping(now), list)
	l.frames++
	return nil
}

// outgoing takes all there is to write, and gives the pump room again. If that is
// nothing it returns when to look again. spare is empty, and becomes the outbox or
// the result.
func (l *link) outgoing(spare []byte, now, looked time.Time) ([]byte, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leaving {
		for _, nonce := range l.pongs {
			spare = wire.AppendPong(spare, nonce)
		}
		l.client.frames.Add(uint64(len(l.pongs)))
	}
	l.pongs = l.pongs[:0]
	buf := l.out
	switch {
	case len(spare) > 0: // pongs go in front
		buf = append(spare, l.out...)
		l.out = l.out[:0]
	case len(buf) > 0:
		l.out = spare
	}
	if len(buf) > 0 {
		l.client.frames.Add(uint64(l.frames))
		l.frames = 0
		l.pacer.Sent(now)
		poke(l.signal)
		return buf, time.Time{}
	}
	next := l.pacer.Next(false)
	if t := looked.Add(l.pacer.Interval()); t.Before(next) {
		next = t
	}
	return nil, next
}

// flush writes buf. After a failure the reader may still find out why: the peer
// may have said it before it closed.
func (l *link) flush(buf []byte) bool {
	began := time.Now()
	n, err := l.conn.Write(buf)
	l.client.bytes.Add(uint64(n))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if !l.leaving && l.err == nil {
			l.writerErr = err
			_ = l.conn.SetReadDeadline(time.Now().Add(lastWords))
		}
		return false
	}
	// On a slow link a ping must not wait behind much.
	switch took := time.Since(began); {
	case took > l.pacer.Interval()/4:
		l.outMax = 1
	case l.outMax < outboxMax:
		l.outMax = min(outboxMax, 2*max(l.outMax, 1<<10))
	}
	if !l.leaving || len(l.out) > 0 {
		return true
	}
	// The goodbye is out. With the half that sends closed, the collector reads it
	// whatever it still sends.
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return false
}
