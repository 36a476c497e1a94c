package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// reopenPause is how long the agent waits before it tries again to open a lane;
// tests shorten it.
var reopenPause = 10 * time.Second

// laneSet is which lanes are open, and why the others are not. It is never changed
// in place.
type laneSet struct {
	open   map[wire.Lane]*queue.Lane
	broken map[wire.Lane]error
	names  []wire.Lane // of all of them, sorted, the default one first
}

// has reports whether the set has a lane.
func (s *laneSet) has(name wire.Lane) bool { return s.open[name] != nil || s.broken[name] != nil }

// with returns the set with a lane that was tried to be opened.
func (s *laneSet) with(name wire.Lane, q *queue.Lane, err error) *laneSet {
	n := &laneSet{maps.Clone(s.open), maps.Clone(s.broken), s.names}
	if !s.has(name) {
		n.names = append(slices.Clone(s.names), name)
		sortLanes(n.names)
	}
	if n.open == nil {
		n.open, n.broken = map[wire.Lane]*queue.Lane{}, map[wire.Lane]error{}
	}
	if err != nil {
		n.broken[name] = err
		return n
	}
	n.open[name] = q
	delete(n.broken, name)
	return n
}

// openLane opens one lane with its settings: the zero value for one that is being
// drained, so that nothing of it is dropped.
func (a *Agent) openLane(ctx context.Context, name wire.Lane, l LaneConfig) (*queue.Lane, error) {
	q, err := queue.OpenLane(ctx, a.queueConfig(name, l))
	if errors.Is(err, queue.ErrForeign) {
		err = fmt.Errorf("%w: %w; put each lane back where it came from", ErrIdentity, err)
	}
	return q, err
}

// queueConfig returns the settings of a lane's queue.
func (a *Agent) queueConfig(name wire.Lane, l LaneConfig) queue.Config {
	return queue.Config{
		Dir: laneDir(a.cfg.Dir, name), Agent: a.id, Lane: name,
		MaxBytes: l.MaxBytes, MaxMessages: l.MaxMessages, MaxAge: l.MaxAge, FreeSpace: l.FreeSpace, Overflow: l.Overflow,
		Interval: l.SyncInterval, LiveFirst: l.LiveFirst, Codec: l.Compression, SegmentSize: l.SegmentSize, Synced: a.wake, Logger: a.cfg.Logger,
	}
}

// ready returns an open lane. The error is ErrUnknownLane, or ErrFull for one that
// cannot be opened now.
func (a *Agent) ready(name wire.Lane) (*queue.Lane, error) {
	set := a.set.Load()
	if q := set.open[name]; q != nil {
		return q, nil
	}
	if err := set.broken[name]; err != nil {
		if errors.Is(err, ErrUncertain) { // the opening's own commit is; the message that comes now is certainly not stored
			err = errors.New(err.Error())
		}
		return nil, fmt.Errorf("%w: lane %s cannot be opened: %w; the agent tries again every %s, mend what it names", ErrFull, name, err, reopenPause)
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownLane, name)
}

// Ready waits until every lane is open. It returns nil, ctx's error, or ErrClosed.
func (a *Agent) Ready(ctx context.Context) error {
	t := time.NewTicker(reopenPause / 10)
	defer t.Stop()
	for len(a.set.Load().broken) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.closed:
			return ErrClosed
		case <-t.C:
		}
	}
	return nil
}

// reopen tries to open the lanes that could not be, until all are or ctx ends.
func (a *Agent) reopen(ctx context.Context) {
	for len(a.set.Load().broken) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(reopenPause):
		}
		for name := range a.set.Load().broken {
			a.changing.Lock() // the settings do not change between the opening and its publication
			q, err := a.openLane(ctx, name, a.terms.Load().cfg.Lanes[string(name)])
			a.set.Store(a.set.Load().with(name, q, err))
			a.changing.Unlock()
			if err != nil {
				a.cfg.Logger.Debug("a lane still cannot be opened", "lane", name, "err", err)
				continue
			}
			a.cfg.Logger.Info("a lane is open that could not be opened before", "lane", name)
			a.anew(transport.Goodbye("a lane is open again"))
		}
	}
}

// anew ends the present link, for another; why is what the collector is told.
func (a *Agent) anew(why error) {
	a.relinkMu.Lock()
	defer a.relinkMu.Unlock()
	if a.relink != nil {
		a.relink(why)
	}
}

// runLink drains the open lanes over links until ctx ends. A lane that is opened
// later joins them with a new link.
func (a *Agent) runLink(ctx context.Context) error {
	for ctx.Err() == nil {
		run, cancel := context.WithCancelCause(ctx)
		a.relinkMu.Lock()
		a.relink = cancel
		a.relinkMu.Unlock()
		var sources []transport.Source
		set := a.set.Load()
		for _, name := range set.names {
			if q := set.open[name]; q != nil {
				sources = append(sources, q)
			}
		}
		var err error
		if len(sources) == 0 {
			<-run.Done()
		} else {
			err = a.link.Run(run, sources...)
		}
		cancel(nil)
		if err != nil {
			return err
		}
	}
	return nil
}
