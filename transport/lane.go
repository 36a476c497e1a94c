package transport

import (
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// entryCost is what an entry counts against the window beyond its batch, so that
// tombstones are not free.
const entryCost = 64

const (
	laneRetryMin = time.Second
	laneRetryMax = time.Minute
)

// lane is one source on this link, or a part of its streams. It belongs to the pump.
type lane struct {
	source   Source
	name     wire.Lane
	streams  []*stream // oldest first
	window   int       // bytes that may be on their way
	inflight int       // bytes that are
	fragment int       // bytes of a batch in one frame

	// Of a source one of whose streams goes ahead of the others: they share a window.
	epoch wire.Epoch // of that one
	rest  *lane      // the lane of the others, nil if this is not the lane of that one
	live  *lane      // the lane of that one, nil if this is not the lane of the others

	// Owned by turns.
	rank    *rank
	share   int   // per cent
	served  int64 // bytes sent, as its rank counts them
	owed    int64 // of its share, in hundredths of a byte
	waiting bool  // had something to send when it was last asked

	// The entry that was read and not begun, and the one that is half sent. What
	// is half sent is sent to its end whatever the answers say: the frames of a
	// batch follow one another.
	held   *wire.Entry
	holder *stream
	cur    *wire.Fragments

	failures int       // of the source, in a row
	retry    time.Time // not asked again before, zero if it did not fail
}

// ready reports whether the lane has a frame to send now: it is not at its end,
// its window is not full and its source has not failed, which is returned when it
// happens.
func (l *lane) ready(now time.Time) (bool, error) {
	if l.cur != nil {
		return true, nil
	}
	if err := l.fetch(now); err != nil || l.held == nil {
		return false, err
	}
	return (l.inflight == 0 || l.inflight+l.cost() <= l.room()) && !l.holder.waits(), nil
}

// room is how many bytes of the lane may be on their way. The others of a stream
// that goes ahead have half the window at most, so that it never finds all of it
// taken.
func (l *lane) room() int {
	switch {
	case l.rest != nil:
		return l.window - l.rest.inflight
	case l.live != nil:
		return min(l.window/2, l.window-l.live.inflight)
	}
	return l.window
}

// cost is what the entry that is held counts against the window.
func (l *lane) cost() int { return entryCost + len(l.held.Batch) }

// frame appends the next frame of a lane that is ready. It reports whether that
// begins an entry.
func (l *lane) frame(dst []byte) (_ []byte, begun bool) {
	if l.cur == nil {
		l.cur = &wire.Fragments{Stream: l.holder.number, Entry: l.held, Size: l.fragment}
		l.holder.begin(l.held, l.cost())
		l.held, l.holder, begun = nil, nil, true
	}
	if dst = l.cur.Append(dst); l.cur.Done() {
		l.cur = nil
	}
	return dst, begun
}

// fetch sees to it that an entry is held if there is one to send.
func (l *lane) fetch(now time.Time) error {
	if l.held != nil || l.inflight >= l.room() && l.inflight > 0 || now.Before(l.retry) {
		return nil
	}
	for _, s := range l.streams {
		e, ok, err := l.source.Next(s.epoch, s.send)
		if err == nil && ok && (e.From > s.send || e.To < s.send) {
			err = fmt.Errorf("source gives %d to %d where %d is to be sent", e.From, e.To, s.send)
		}
		if err != nil {
			return l.fail(err, now)
		}
		if ok {
			l.held, l.holder = &e, s
			break
		}
	}
	l.failures, l.retry = 0, time.Time{}
	return nil
}

// fail leaves the source alone for a while.
func (l *lane) fail(err error, now time.Time) error {
	l.retry = now.Add(min(laneRetryMin<<min(l.failures, 10), laneRetryMax))
	l.failures++
	return fmt.Errorf("lane %s: %w", l.name, err)
}

// drop gives up what was read for s and not begun.
func (l *lane) drop(s *stream) {
	if l.holder == s {
		l.held, l.holder = nil, nil
	}
}
