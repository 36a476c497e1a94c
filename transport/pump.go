package transport

import (
	"context"
	"errors"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// errLeft ends a link on which goodbye was said.
var errLeft = errors.New("goodbye said")

// errLaneReturn ends a link that a lane was left out of: a new hello gives it
// another chance.
var errLaneReturn = errors.New("a lane was left out of the link, another hello gives it another chance")

// How long a link lives on without a lane that could not take its welcome: most
// disks are well again after a moment, and the others are to be disturbed seldom.
const (
	laneReturnMin = time.Second
	laneReturnMax = time.Minute
)

// pump is the part of a link that moves entries: it alone calls the sources.
type pump struct {
	turns   turns
	streams []*stream // stream i+1 of the link is streams[i]
	scratch []byte    // for one frame
	end     time.Time // when the link ends for the sake of a lane left out; zero: it does not
}

// work resumes the streams and then sends and takes answers, until the link ends
// or ctx does.
func (l *link) work(ctx context.Context, greetings []greeting) error {
	if err := l.resume(ctx, greetings); err != nil {
		if ctx.Err() != nil {
			return l.leave(ctx)
		}
		return err
	}
	l.client.connected(l)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return l.leave(ctx)
		}
		sent, err := l.step(ctx)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if at := l.waitUntil(); !at.IsZero() {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		select {
		case <-l.signal:
		case <-l.client.wake:
		case <-timer.C:
		case <-l.dead:
			return nil
		case <-ctx.Done():
			return l.leave(ctx)
		}
	}
}

// resume lets each source take its part of the welcome and opens its streams.
func (l *link) resume(ctx context.Context, greetings []greeting) error {
	matches := l.welcome.Matches
	var failed error
	var open []*opened
	var frames []byte
	n := 0
	add := func(ln *lane, r wire.Resume) {
		r.Stream = uint32(len(l.streams) + 1)
		s := newStream(ln, r.Stream, r)
		l.streams, ln.streams = append(l.streams, s), append(ln.streams, s)
		open = append(open, &opened{source: ln.source, number: r.Stream, epoch: r.Epoch, last: wire.Announcement{Next: r.Next}})
		frames = wire.AppendResume(frames, r)
		n++
	}
	var begun []func()
	for _, g := range greetings {
		name := g.source.Lane()
		resumes, err := g.source.Welcome(ctx, l.welcome.Store, g.said, matches[:len(g.said)])
		matches = matches[len(g.said):]
		if err == nil && len(resumes) < len(g.said) {
			err = failf(CauseQueue, "%d resumes for %d streams", len(resumes), len(g.said))
		}
		if err != nil {
			failed = failf(CauseQueue, "lane %s cannot take the welcome: %w", name, err)
			l.client.log.Error("lane left out of this link", "lane", name, "error", err)
			continue
		}
		if k, ok := g.source.(Timekeeper); ok {
			if err := k.Confirm(ctx, l.welcome.Time); err != nil {
				l.client.log.Warn("the collector's time could not be noted", "lane", name, "error", err)
			}
		}
		live, rest := l.lanes(g.source)
		for i, r := range resumes {
			ln := live
			if rest != nil && r.Epoch != live.epoch {
				ln = rest
			}
			if i < len(g.said) {
				add(ln, r)
			} else {
				begun = append(begun, func() { add(ln, r) })
			}
		}
		l.turns.add(live, l.client.cfg.Lanes[name])
		if rest != nil {
			l.turns.addBehind(rest, l.client.cfg.Lanes[name])
		}
	}
	// A session counts as told in full once as many streams are open as its hello told
	// of. So those that have only just begun come last, and wait for another link if a
	// lane is left out of this one.
	if failed == nil {
		for _, add := range begun {
			add()
		}
	}
	if failed != nil {
		if len(l.turns.lanes) == 0 {
			return failed
		}
		l.end = time.Now().Add(min(laneReturnMin<<min(l.client.leftOut, 10), laneReturnMax))
		l.client.leftOut++
	} else {
		l.client.leftOut = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out, l.frames = append(l.out, frames...), l.frames+n
	l.open, l.greet = open, true
	if l.flow = newFlow(l.turns.ranked()); l.flow.on {
		l.marked(l.flow.ask(l.out, time.Now())) // its answer tells how long the empty line takes
	}
	poke(l.ready)
	return nil
}

// lanes returns the lane of a source that has taken the welcome. If its newest
// stream goes ahead, that has a lane of its own, and rest is that of the others.
func (l *link) lanes(source Source) (live, rest *lane) {
	live = &lane{source: source, name: source.Lane(), window: l.welcome.Window, fragment: l.welcome.Fragment}
	if lf, ok := source.(LiveFirst); ok {
		if epoch, ok := lf.Ahead(); ok {
			r := *live
			live.epoch = epoch
			rest = &r
			live.rest, rest.live = rest, live
		}
	}
	return live, rest
}

// step takes the answers and gives lanes their turns. It reports whether there
// may be more to do at once.
func (l *link) step(ctx context.Context) (sent bool, err error) {
	now := time.Now()
	for _, e := range l.takeEvents() {
		if err := l.answer(ctx, e, now); err != nil {
			return false, err
		}
	}
	if !l.end.IsZero() && !now.Before(l.end) {
		return false, failf(CauseQueue, "%w", errLaneReturn)
	}
	return l.fill(now), nil
}

// answer hands an ack or a reject to its stream.
func (l *link) answer(ctx context.Context, e event, now time.Time) error {
	if e.stream == 0 || int64(e.stream) > int64(len(l.streams)) {
		return failf(CauseProtocol, "the collector answers for stream %d, which is not open on this link", e.stream)
	}
	s := l.streams[e.stream-1]
	if !e.reject {
		return s.ack(e.n)
	}
	log := l.client.log.With("lane", s.lane.name, "number", e.n, "why", e.why)
	stopped, err := s.reject(ctx, e.n, e.why)
	var f *failure
	switch {
	case errors.As(err, &f):
		return err
	case err != nil:
		l.failed(s.lane, s.lane.fail(err, now))
	case stopped:
		log.Error("the store refuses message after message: the lane is stopped until an operator starts it")
	default:
		log.Warn("the store refuses a message for good: it is kept as a dead letter")
	}
	return nil
}

// failed logs that a source failed, more and more seldom.
func (l *link) failed(ln *lane, err error) {
	if n := ln.failures; n&(n-1) == 0 {
		l.client.log.Error("lane cannot be read, other lanes go on", "error", err, "failures", n, "next_try", ln.retry)
	}
}

// takeAcks notes acks that came in before the link ended. Rejects are left: the
// number is sent and refused again.
func (l *link) takeAcks(list []event) {
	for _, e := range list {
		if !e.reject && e.stream > 0 && int64(e.stream) <= int64(len(l.streams)) {
			_ = l.streams[e.stream-1].ack(e.n) // a wrong one changes nothing, and the link has ended
		}
	}
}

// fill puts frames into the outbox, as many as there are lanes, as far as there
// is room.
func (l *link) fill(now time.Time) (sent bool) {
	for range l.turns.lanes {
		l.mu.Lock()
		room := len(l.out) < l.outMax
		l.mu.Unlock()
		if !room {
			return false
		}
		// The sources may take their time, so mu is not held: what a frame is
		// appended to is the pump's own.
		ln, urgent := l.turns.next(now, l.failed)
		if ln == nil {
			return sent
		}
		if !l.flowing(urgent) {
			return sent
		}
		frame, begun := ln.frame(l.scratch[:0])
		l.scratch = frame
		if begun {
			l.client.entries.Add(1)
		}
		l.turns.sent(ln, len(frame))
		sent = true
		l.mu.Lock()
		l.out = append(l.out, frame...)
		l.frames++
		l.marked(l.flow.put(l.out, len(frame), time.Now()))
		l.mu.Unlock()
		poke(l.ready)
	}
	return sent
}

// flowing reports whether a frame may be put out now. If not, a pong will make
// room and wake the pump.
func (l *link) flowing(urgent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flow.room(urgent) {
		return true
	}
	if l.marked(l.flow.ask(l.out, time.Now())) {
		poke(l.ready)
	}
	return false
}

// marked takes the outbox as the flow has left it, and reports whether it has put
// a mark there. mu is held.
func (l *link) marked(out []byte) bool {
	more := len(out) > len(l.out)
	if l.out = out; more {
		l.frames++
	}
	return more
}

// waitUntil returns when there may be something to do without a signal, zero if
// never.
func (l *link) waitUntil() time.Time {
	at := l.end
	soon := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, ln := range l.turns.lanes {
		soon(ln.retry)
	}
	return at
}

// leave says goodbye and lets the last acks come in, for a bounded time. What
// waits in the outbox is left out: the collector discards a batch without its
// end, and the batch is sent again another time.
func (l *link) leave(ctx context.Context) error {
	l.mu.Lock()
	l.out, l.frames, l.leaving = wire.AppendJSON(l.out[:0], wire.TypeBye, wire.Bye{Reason: goodbye(ctx)}), 1, true
	_ = l.conn.SetDeadline(time.Now().Add(farewell))
	l.mu.Unlock()
	poke(l.ready)
	<-l.dead // by the reader: the collector has closed, or the time is up
	return errLeft
}
