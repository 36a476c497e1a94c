package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// slowStore takes its time before and after each transaction, so that a kill of
// the collector finds some that are not made yet, and some that are made and not
// answered. A killed one makes no more of them.
type slowStore struct {
	collector.Store
	pause  func() time.Duration
	killed atomic.Bool
}

var errKilled = errors.New("this collector was killed")

func newSlowStore(s collector.Store, seed uint64) *slowStore {
	var n atomic.Uint64
	return &slowStore{Store: s, pause: func() time.Duration {
		r := rand.New(rand.NewPCG(seed, n.Add(1)))
		if r.IntN(2) == 0 {
			return 0
		}
		return time.Duration(r.Int64N(int64(500 * time.Millisecond)))
	}}
}

// transaction runs f between two pauses.
func transaction[T any](s *slowStore, f func() (T, error)) (T, error) {
	var none T
	time.Sleep(s.pause())
	if s.killed.Load() {
		return none, errKilled
	}
	v, err := f()
	time.Sleep(s.pause())
	if s.killed.Load() {
		return none, errKilled
	}
	return v, err
}

func (s *slowStore) Hello(ctx context.Context, h collector.Hello) (collector.Grant, error) {
	return transaction(s, func() (collector.Grant, error) { return s.Store.Hello(ctx, h) })
}

func (s *slowStore) Resume(ctx context.Context, id collector.Session, r wire.Resume) (wire.Seq, error) {
	return transaction(s, func() (wire.Seq, error) { return s.Store.Resume(ctx, id, r) })
}

func (s *slowStore) Append(ctx context.Context, id collector.Session, list []collector.Append) ([]collector.Answer, error) {
	return transaction(s, func() ([]collector.Answer, error) { return s.Store.Append(ctx, id, list) })
}
