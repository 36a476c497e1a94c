package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Lane is a lane that may have several streams, each a [Queue] of its own: the
// newest takes puts, the older ones only drain. There is one, as in a plain
// Queue, until [Config.LiveFirst] makes another: after a long outage what had
// piled up becomes a backlog, and new messages go ahead of it in a new epoch.
//
//	lane's folder   the first stream, as a Queue has it
//	  streams/
//	    00000001/   the second
//	    00000002/   ...
//	    removed     what the streams were that are gone
//
// Each stream is in order. Without LiveFirst they follow one another, oldest
// first; with it the newest waits for nobody. The limits hold for all of them
// together. All methods may be called concurrently, but those of a transport's
// source by one goroutine at a time, except Announce.
type Lane struct {
	// Static after OpenLane.
	cfg    Config
	log    *slog.Logger
	opened time.Time

	linked atomic.Int64              // ns after opened at which a link last showed that it lives
	all    atomic.Pointer[[]*strand] // oldest first; a list is never changed in place

	mu      sync.Mutex // held while the list changes
	closing bool
	past    past
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
	list := []*strand{}
	l.all.Store(&list)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	// The first stream's lock is the lane's.
	if err := l.add(ctx, 0); err != nil {
		return nil, err
	}
	var numbers []uint64
	if l.past, numbers, err = readStreams(cfg.Dir); err != nil {
		return nil, fmt.Errorf("queue %s: %w", cfg.Dir, err)
	}
	for _, n := range numbers {
		if n <= l.past.Upto { // a removal that was cut short
			if err := removeStream(cfg.Dir, n); err != nil {
				return nil, fmt.Errorf("queue %s: stream %d is removed, and its folder cannot be deleted: %w", cfg.Dir, n, err)
			}
			continue
		}
		if err := l.add(ctx, n); err != nil {
			return nil, err
		}
	}
	return l, l.distinct()
}

// add opens a stream, which takes puts from now on.
func (l *Lane) add(ctx context.Context, number uint64) error {
	s, err := l.open(ctx, number)
	if err == nil {
		l.append(s)
	}
	return err
}

func (l *Lane) open(ctx context.Context, number uint64) (*strand, error) {
	s := &strand{lane: l, number: number}
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

func (l *Lane) append(s *strand) {
	old := l.list()
	if k := len(old); k > 0 {
		old[k-1].retired.Store(true)
	}
	list := append(old[:len(old):len(old)], s)
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

// list returns the streams, oldest first. It must not be changed.
func (l *Lane) list() []*strand { return *l.all.Load() }

// live returns the stream that takes puts.
func (l *Lane) live() *strand {
	list := l.list()
	return list[len(list)-1]
}

// enter returns the stream that takes puts, and keeps it from being removed until
// leave is called.
func (l *Lane) enter() *strand {
	for {
		s := l.live()
		s.puts.Add(1)
		if s == l.live() {
			return s
		}
		s.puts.Add(-1)
	}
}

func (s *strand) leave() { s.puts.Add(-1) }

// Put is [Queue.Put].
func (l *Lane) Put(ctx context.Context, msgs ...wire.Message) error {
	s := l.enter()
	defer s.leave()
	return s.q.Put(ctx, msgs...)
}

// PutAsync is [Queue.PutAsync].
func (l *Lane) PutAsync(msgs []wire.Message, done func(error)) error {
	s := l.enter()
	defer s.leave()
	return s.q.PutAsync(msgs, done)
}

// Flush waits until a store has acked everything that was accepted when Flush
// was called. It returns ctx's error, or [ErrClosed].
func (l *Lane) Flush(ctx context.Context) error {
	for _, s := range l.list() {
		if err := s.q.Flush(ctx); err != nil && !(errors.Is(err, ErrClosed) && l.without(s)) {
			return err
		}
	}
	return nil
}

// without reports whether s was removed, which needs that all of it was acked.
func (l *Lane) without(s *strand) bool {
	for _, o := range l.list() {
		if o == s {
			return false
		}
	}
	return true
}

// Close closes all streams, as [Queue.Close] does. A second Close waits for the
// first and returns the same.
func (l *Lane) Close() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	list := l.list()
	var errs []error
	for i := range list { // the first one last: its lock is the lane's
		errs = append(errs, list[len(list)-1-i].q.Close())
	}
	return errors.Join(errs...)
}
