package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/wire"
)

// slowStore takes its time before and after each transaction, so that a kill of
// the collector finds some that are not made yet, and some that are made and not
// answered. A killed one makes no more of them. It knows who has come.
type slowStore struct {
	collector.Store
	w      *world
	pause  func() time.Duration
	killed atomic.Bool

	mu     sync.Mutex
	who    map[collector.Session]wire.Instance
	opened map[wire.Instance]map[wire.Lane]bool // by resumes
	failed bool                                 // the last transaction
}

var errKilled = errors.New("this collector was killed")

func newSlowStore(w *world, s collector.Store, seed uint64) *slowStore {
	var n atomic.Uint64
	return &slowStore{
		Store: s, w: w,
		pause: func() time.Duration {
			r := rand.New(rand.NewPCG(seed, n.Add(1)))
			if r.IntN(2) == 0 {
				return 0
			}
			return time.Duration(r.Int64N(int64(500 * time.Millisecond)))
		},
		who: map[collector.Session]wire.Instance{}, opened: map[wire.Instance]map[wire.Lane]bool{},
	}
}

// transaction runs f between two pauses.
func transaction[T any](s *slowStore, f func() (T, error)) (T, error) {
	var none T
	time.Sleep(s.pause())
	if s.killed.Load() {
		return none, errKilled
	}
	v, err := f()
	s.outcome(err)
	time.Sleep(s.pause())
	if s.killed.Load() {
		return none, errKilled
	}
	return v, err
}

// outcome notes whether the store's disk fails.
func (s *slowStore) outcome(err error) {
	if errors.Is(err, collector.ErrMoved) {
		s.w.saw("carry: a session learns that a stick has brought more than it knows")
	}
	for _, protocol := range []error{collector.ErrFenced, collector.ErrUnknown, collector.ErrConflict, collector.ErrMoved, collector.ErrGap, collector.ErrMemory, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, protocol) {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.killed.Load():
	case err != nil && !s.failed:
		s.w.saw("collector: a failing disk fails a transaction")
	case err == nil && s.failed:
		s.w.saw("collector: commits again by itself")
	}
	s.failed = err != nil
}

func (s *slowStore) Hello(ctx context.Context, h collector.Hello) (collector.Grant, error) {
	g, err := transaction(s, func() (collector.Grant, error) { return s.Store.Hello(ctx, h) })
	if err == nil {
		s.mu.Lock()
		s.who[collector.Session{Agent: h.Agent, Session: g.Session}] = h.Instance
		s.mu.Unlock()
		s.w.greeted(h, g)
	}
	return g, err
}

func (s *slowStore) Resume(ctx context.Context, id collector.Session, r wire.Resume) (wire.Seq, error) {
	seq, err := transaction(s, func() (wire.Seq, error) { return s.Store.Resume(ctx, id, r) })
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := s.who[id]
		if s.opened[i] == nil {
			s.opened[i] = map[wire.Lane]bool{}
		}
		s.opened[i][r.Lane] = true
	}
	return seq, err
}

func (s *slowStore) Append(ctx context.Context, id collector.Session, list []collector.Append) ([]collector.Answer, error) {
	return transaction(s, func() ([]collector.Answer, error) {
		appends := s.Store.Append
		if s.w.policy.poison {
			appends = s.appendOrRefuse
		}
		answers, err := appends(ctx, id, list)
		s.follow()
		return answers, err
	})
}

// appendOrRefuse is Append of a store that refuses messages for good (rule 10).
func (s *slowStore) appendOrRefuse(ctx context.Context, id collector.Session, list []collector.Append) (answers []collector.Answer, err error) {
	for i := range list {
		one := list[i : i+1]
		if poisoned(&one[0].Entry, 0) > 0 {
			// An entry that leaves a gap changes nothing and is answered with W.
			e := &one[0].Entry
			ask := collector.Append{Stream: one[0].Stream, Time: one[0].Time,
				Entry: wire.Entry{From: wire.MaxSeq, To: wire.MaxSeq, Incarnation: e.Incarnation, Reason: wire.ReasonPurged}}
			at, err := s.Store.Append(ctx, id, []collector.Append{ask})
			if err != nil {
				return nil, err
			}
			if n := poisoned(e, at[0].W); n > 0 && e.From <= at[0].W+1 {
				answers = append(answers, collector.Answer{W: at[0].W, Rejected: n, Why: "poison"})
				continue
			}
		}
		a, err := s.Store.Append(ctx, id, one)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a...)
	}
	return answers, nil
}

// resumed reports whether all lanes of a process have opened their streams.
func (s *slowStore) resumed(i wire.Instance) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opened[i]) == len(lanes)
}

// greeted notes what a hello shows: a store that holds more than the process
// that sent it has acks of, on a line that has lost bytes since its last hello,
// means that an ack was lost.
func (w *world) greeted(h collector.Hello, g collector.Grant) {
	w.mu.Lock()
	l := w.alive[h.Instance]
	w.mu.Unlock()
	if l == nil {
		return
	}
	lost := l.line.Lost(faultnet.Down)
	w.mu.Lock()
	for _, s := range h.Streams {
		if n := len(s.Boundaries); n > 0 && !s.More {
			w.owner[[2]string{string(s.Lane), s.Boundaries[n-1].Incarnation.String()}] = l
		}
	}
	w.mu.Unlock()
	before, again := l.lost.Swap(lost), l.greeted.Swap(true)
	if !again || lost == before {
		return
	}
	for _, s := range l.a.Status().Lanes {
		for i := range h.Streams {
			if m := g.Matches[i]; string(h.Streams[i].Lane) == s.Lane && h.Streams[i].Epoch == s.Epoch && m.Found && m.Common == m.W && m.W > s.Acked {
				w.saw("lost ack")
			}
		}
	}
}
