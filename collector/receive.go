package collector

import (
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// handle takes one frame of a welcomed agent. An error ends the link.
func (l *link) handle(t wire.Type, p []byte) error {
	if l.opening != nil && (t == wire.TypeData || t == wire.TypeMore) {
		return fmt.Errorf("%s while the pages of resume %d are incomplete", t, l.opening.Stream)
	}
	switch t {
	case wire.TypeResume:
		return l.onResume(p)
	case wire.TypeData:
		return l.onData(p)
	case wire.TypeMore:
		return l.onMore(p)
	case wire.TypePing:
		return l.onPing(p)
	case wire.TypePong:
		nonce, err := wire.ParsePong(p)
		if err == nil {
			l.ponged(nonce)
		}
		return err
	case wire.TypeBye:
		var bye wire.Bye
		if err := wire.ParseJSON(t, p, &bye); err != nil {
			return err
		}
		l.end(ending{goodbye: true, cause: plain(bye.Reason, wire.MaxReason)})
		return nil
	}
	return fmt.Errorf("%s is not an agent's frame to send after the welcome", t)
}

// onResume opens a stream, once all its pages are there.
func (l *link) onResume(p []byte) error {
	if len(p) > wire.MaxPage {
		return fmt.Errorf("resume page of %d bytes, the limit is %d", len(p), wire.MaxPage)
	}
	var r wire.Resume
	if err := wire.ParseJSON(wire.TypeResume, p, &r); err != nil {
		return err
	}
	if len(r.Boundaries) > wire.MaxPageBounds {
		return fmt.Errorf("resume page of %d boundaries, the limit is %d", len(r.Boundaries), wire.MaxPageBounds)
	}
	if o := l.opening; o != nil {
		if r.Stream != o.Stream || r.Lane != o.Lane || r.Epoch != o.Epoch || r.Base != o.Base || r.Next != o.Next {
			return fmt.Errorf("the pages of resume %d are not of one stream", o.Stream)
		}
		r.Boundaries = append(o.Boundaries, r.Boundaries...)
	}
	if len(r.Boundaries) > wire.MaxHelloBounds {
		return fmt.Errorf("resume %d with more than %d boundaries", r.Stream, wire.MaxHelloBounds)
	}
	if r.More && len(r.Boundaries) == 0 {
		return errors.New("resume page without boundaries, and more to come")
	}
	if l.opening = nil; r.More {
		l.opening = &r
		return nil
	}
	if err := r.Check(); err != nil {
		return fmt.Errorf("resume %d: %w", r.Stream, err)
	}
	return l.open(&r)
}

func (l *link) open(r *wire.Resume) error {
	key := Stream{r.Lane, r.Epoch}
	for _, st := range l.streams {
		if st.number == r.Stream || st.Stream == key {
			return fmt.Errorf("resume %d (lane %s, epoch %s): already open as %d", r.Stream, r.Lane, r.Epoch, st.number)
		}
	}
	if len(l.streams) >= wire.MaxStreams {
		return fmt.Errorf("resume %d: %d streams are open, that is the limit", r.Stream, wire.MaxStreams)
	}
	ln := l.lanes[r.Lane]
	if ln == nil {
		ln = &lane{}
		l.lanes[r.Lane] = ln
	}
	st := &stream{Stream: key, number: r.Stream, lane: ln, w: r.Base, announced: r.Next}
	st.told.w, st.told.last = r.Base, r.Base
	l.pending.open(st, r)
	l.srv.count.streams.Add(1)
	if len(l.streams) == 1 {
		l.time() // the agent is through with the welcome: what it answers now takes the link's time
	}
	return nil
}

// onPing answers at once, whatever the store does, and takes what is announced.
func (l *link) onPing(p []byte) error {
	nonce, list, err := wire.ParsePing(p)
	if err != nil {
		return err
	}
	l.out.pong(nonce)
	for _, a := range list {
		st := l.streams[a.Stream]
		if st == nil {
			return fmt.Errorf("an announcement for stream %d, which no resume has opened", a.Stream)
		}
		l.pending.announce(st, a)
	}
	return nil
}

// time pings, to measure the round trip.
func (l *link) time() {
	l.mu.Lock()
	nonce := l.pacer.Ping(time.Now())
	l.mu.Unlock()
	l.out.ping(nonce)
}
