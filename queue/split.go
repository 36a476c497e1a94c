package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// A lane has at most so many streams besides the one that takes puts: fewer where
// it may have few bytes on disk. While all of them have a backlog, new messages
// wait behind what has piled up.
const (
	maxBacklogs  = 8
	bytesBacklog = 512 << 10
)

// streamRoom is what a stream that holds nothing may take of Config.MaxBytes. A
// lane that goes live first keeps so much free for the next one.
const streamRoom = minSegmentSize

// backlogs is how many streams the lane may have besides the one that takes puts.
func (cfg *Config) backlogs() int {
	if cfg.MaxBytes > 0 {
		return int(min(maxBacklogs, max(2, cfg.MaxBytes/bytesBacklog)))
	}
	return maxBacklogs
}

// reserve is what puts leave of MaxBytes.
func (cfg *Config) reserve() int64 {
	if cfg.LiveFirst > 0 {
		return streamRoom
	}
	return 0
}

// alive notes that a link asks or tells something.
func (l *Lane) alive() { l.linked.Store(int64(time.Since(l.opened))) }

// away is how long no link has been seen.
func (l *Lane) away() time.Duration { return time.Since(l.opened) - time.Duration(l.linked.Load()) }

// due reports whether what has piled up is to become a backlog: the link was
// gone, or its oldest message has waited, for longer than the setting.
func (l *Lane) due(ctx context.Context, away time.Duration) (bool, error) {
	liveFirst := time.Duration(l.liveFirst.Load())
	if liveFirst == 0 {
		return false, nil
	}
	q := l.live().q
	q.mu.Lock()
	s, settled, stopped := q.shown, q.settled(), q.stopped
	q.mu.Unlock()
	switch {
	case settled >= s.next-1, stopped: // what the store refuses in a row is not to be tried in another stream
		return false, nil
	case away > liveFirst:
		return true, nil
	}
	return q.waited(ctx, liveFirst)
}

// waited reports whether the oldest message that is not acked has waited for d,
// as far as is certain.
func (q *Queue) waited(ctx context.Context, d time.Duration) (old bool, err error) {
	err = q.do(ctx, func(c *change) (bool, error) {
		q.mu.Lock()
		settled := q.settled()
		q.mu.Unlock()
		to, _, err := q.files.olderThan(&c.state, max(settled+1, c.state.oldest), q.clock.now()-d)
		old = to > 0
		return false, err
	})
	return old, err
}

// errManyBacklogs: no place is free for another stream.
var errManyBacklogs = errors.New("all streams that the lane may have still have a backlog")

// split gives another stream the turn to take puts: one that is drained, else a
// new one, whose resume it returns. The stream that took them until now only
// drains. Whose turn it is lies in the streams' states, the highest counts; so a
// crash at any instant leaves a lane that is whole: before the commit that gives
// the turn, or the name of the new stream's first segment, nothing has happened.
//
// A stream is never removed: what is gone could declare nothing to a store that
// was set back (rule 3).
func (l *Lane) split(ctx context.Context, store wire.StoreID) (begun []wire.Resume, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return nil, ErrClosed
	}
	old, turn, number := l.live(), uint64(0), uint64(0)
	if err := old.q.cramped(); err != nil {
		return nil, err
	}
	for _, s := range l.list() {
		turn, number = max(turn, s.q.snapshot().turn+1), max(number, s.number+1)
	}
	var s *strand
	for _, o := range l.list() {
		if o == old {
			continue
		}
		if ok, err := o.q.takeTurn(ctx, turn); err != nil {
			return nil, err
		} else if ok {
			s = o
			break
		}
	}
	if s == nil {
		if len(l.list()) > l.cfg.backlogs() {
			return nil, errManyBacklogs
		}
		if s, err = l.open(ctx, number, turn); err != nil {
			return nil, err
		}
		if begun, err = s.q.Welcome(ctx, store, s.q.Streams(), []wire.Match{{}}); err != nil {
			return nil, errors.Join(err, s.q.Close())
		}
		if s.q.snapshot().turn < turn { // what an attempt has left that failed
			if ok, err := s.q.takeTurn(ctx, turn); err != nil || !ok {
				return nil, errors.Join(errManyBacklogs, err, s.q.Close())
			}
		}
	}
	l.arrange(append(slices.DeleteFunc(slices.Clone(l.list()), func(o *strand) bool { return o == s }), s))
	l.log.Warn("what has piled up follows as a backlog; new messages go ahead of it in another epoch",
		"backlog", old.q.Stats().Backlog, "epoch", s.q.snapshot().epoch, "stream", s.number, "new", len(begun) > 0)
	return begun, nil
}

// takeTurn makes durable that the stream takes puts from now on, if it has no
// backlog: the store has everything. It is called after a welcome.
func (q *Queue) takeTurn(ctx context.Context, turn uint64) (ok bool, err error) {
	err = q.do(ctx, func(c *change) (bool, error) {
		q.mu.Lock()
		ok = q.welcomed && !q.stopped && q.settled() >= c.state.next-1
		q.mu.Unlock()
		if ok {
			c.state.turn, c.link = turn, true
		}
		return ok, nil
	})
	return ok, err
}

// cramped returns why the lane must not grow now, nil if it may.
func (q *Queue) cramped() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing != nil {
		return q.failing
	}
	return q.low
}
