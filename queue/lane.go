package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Lane is a lane that may have several streams, each a [Queue] of its own: the
// last in their order takes puts, the others only drain. There is one, as in a
// plain Queue, until [Config.LiveFirst] makes another: after a long outage what had
// piled up becomes a backlog, and new messages go ahead of it in another epoch.
//
//	lane's folder   the first stream, as a Queue has it
//	  streams/
//	    00000001/   the second
//	    00000002/   ...
//
// Streams stay for ever, and take turns: after an outage one that is drained takes
// puts, with its next number, and only if all have a backlog another is begun.
// Each stream is in order. Without LiveFirst they follow one another, in the order
// of their turns; with it the last waits for nobody. The limits hold for all of them
// together. All methods may be called concurrently, but those of a transport's
// source by one goroutine at a time, except Announce.
type Lane struct {
	// Static after OpenLane.
	log    *slog.Logger
	opened time.Time

	liveFirst atomic.Int64              // Config.LiveFirst, ns
	linked    atomic.Int64              // ns after opened at which a link last showed that it lives
	version   atomic.Uint64             // the highest of a checkpoint
	all       atomic.Pointer[[]*strand] // in the order of their turns; a list is never changed in place

	mu      sync.Mutex // held while the list or the settings change
	cfg     Config     // Lane and Dir of it never change
	closing bool
}

// OpenLane opens a lane with all its streams, and creates it if the folder is
// missing or empty. The errors are those of [Open].
func OpenLane(ctx context.Context, cfg Config) (_ *Lane, err error) {
	if cfg.LiveFirst < 0 {
		return nil, fmt.Errorf("queue: lane %s: live first after %s, want 0 (never) or more", cfg.Lane, cfg.LiveFirst)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Lane{cfg: cfg, log: cfg.Logger.With("lane", string(cfg.Lane)), opened: time.Now()}
	l.liveFirst.Store(int64(cfg.LiveFirst))
	l.all.Store(&[]*strand{})
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// The first stream's lock is the lane's, so it is opened before anything is looked at.
	for numbers := []uint64{0}; len(numbers) > 0; numbers = numbers[1:] {
		s, err := l.open(ctx, numbers[0], 0)
		if err != nil {
			return nil, err
		}
		l.arrange(append(slices.Clone(l.list()), s))
		if numbers[0] > 0 {
			continue
		}
		more, err := readStreams(cfg.Dir)
		if err != nil {
			return nil, fmt.Errorf("queue %s: %w", cfg.Dir, err)
		}
		numbers = append(numbers, more...)
	}
	l.arrange(slices.SortedStableFunc(slices.Values(l.list()), func(a, b *strand) int {
		return cmp.Compare(a.q.snapshot().turn, b.q.snapshot().turn)
	}))
	for _, s := range l.list() {
		l.version.Store(max(l.version.Load(), newestVersion(s.q.snapshot().inputs)))
	}
	return l, l.distinct()
}

// open opens a stream; turn is for one that is new.
func (l *Lane) open(ctx context.Context, number, turn uint64) (*strand, error) {
	s := &strand{lane: l, number: number, turn: turn}
	cfg := l.cfg
	cfg.strand = s
	if number > 0 {
		cfg.Dir = streamDir(l.cfg.Dir, number)
		cfg.Logger = cfg.Logger.With("stream", number)
	}
	var err error
	s.q, err = Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.q.note()
	return s, nil
}

// arrange puts the streams into another order, whose last takes puts.
func (l *Lane) arrange(list []*strand) {
	for i, s := range list {
		s.retired.Store(i < len(list)-1)
	}
	l.all.Store(&list)
}

// distinct returns an error if two folders hold one stream: somebody has copied
// one into the other's lane.
func (l *Lane) distinct() error {
	seen := map[wire.Epoch]*strand{}
	for _, s := range l.list() {
		e := s.q.snapshot().epoch
		if o := seen[e]; o != nil {
			return fmt.Errorf("queue: %s and %s are one stream, epoch %s; move the copy out of the lane's folder", o.q.cfg.Dir, s.q.cfg.Dir, e)
		}
		seen[e] = s
	}
	return nil
}

// list returns the streams in their order. It must not be changed.
func (l *Lane) list() []*strand { return *l.all.Load() }

// numbered returns the streams in the order of their numbers. The caller owns the
// result.
func (l *Lane) numbered() []*strand {
	return slices.SortedFunc(slices.Values(l.list()), func(a, b *strand) int { return cmp.Compare(a.number, b.number) })
}

// live returns the stream that takes puts.
func (l *Lane) live() *strand {
	list := l.list()
	return list[len(list)-1]
}

// Put is [Queue.Put].
func (l *Lane) Put(ctx context.Context, msgs ...wire.Message) error {
	return l.live().q.Put(ctx, msgs...)
}

// PutAsync is [Queue.PutAsync].
func (l *Lane) PutAsync(msgs []wire.Message, done func(error)) error {
	return l.live().q.PutAsync(msgs, done)
}

// Flush waits until a store has acked everything that was accepted when Flush
// was called. It returns ctx's error, or [ErrClosed].
func (l *Lane) Flush(ctx context.Context) error {
	for _, s := range l.list() {
		if err := s.q.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close closes all streams, as [Queue.Close] does. A second Close waits for the
// first and returns the same.
func (l *Lane) Close() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	var errs []error
	for _, s := range slices.Backward(l.numbered()) { // the first one last: its lock is the lane's
		errs = append(errs, s.q.Close())
	}
	return errors.Join(errs...)
}
