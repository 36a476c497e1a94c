package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Lane returns the lane's name.
func (l *Lane) Lane() wire.Lane { return l.cfg.Lane }

// Store returns the store that the lane last obeyed, zero before its first
// welcome. A welcome is taken by the first stream first.
func (l *Lane) Store() wire.StoreID {
	for _, s := range l.list() {
		if id := s.q.Store(); !id.IsZero() {
			return id
		}
	}
	return wire.StoreID{}
}

// Streams returns what a hello says of the lane's streams, in their order,
// synced state only. The caller owns the result.
func (l *Lane) Streams() (said []wire.StreamState) {
	for _, s := range l.list() {
		said = append(said, s.q.Streams()...)
	}
	return said
}

// Welcome is [Queue.Welcome] for each stream of the lane. After an outage that
// was longer than [Config.LiveFirst] another stream takes puts if something has
// piled up. If that one is new, there is one resume more than there are matches,
// the last.
func (l *Lane) Welcome(ctx context.Context, store wire.StoreID, said []wire.StreamState, matches []wire.Match) ([]wire.Resume, error) {
	away := l.away()
	list := l.list()
	if len(said) != len(list) || len(matches) != len(list) {
		return nil, fmt.Errorf("lane %s: a welcome for %d streams answers %d, the lane has %d", l.cfg.Lane, len(matches), len(said), len(list))
	}
	var resumes []wire.Resume
	var errs []error
	for i, s := range list {
		// All are asked, also after one that cannot take its part: a history that is
		// told in several hellos goes on with each of them.
		r, err := s.q.Welcome(ctx, store, said[i:i+1], matches[i:i+1])
		resumes, errs = append(resumes, r...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := l.distinct(); err != nil {
		return nil, err
	}
	due, err := l.due(ctx, away)
	if err == nil && due {
		var begun []wire.Resume
		begun, err = l.split(ctx, store)
		resumes = append(resumes, begun...)
	}
	if err != nil {
		l.log.Warn("new messages wait behind the backlog: no other stream can take them", "error", err)
	}
	l.alive()
	return resumes, nil
}

// Ahead returns the epoch of the stream that goes ahead of the lane's others;
// false if they follow one another, or there is only one that has anything.
func (l *Lane) Ahead() (wire.Epoch, bool) {
	list := l.list()
	live := list[len(list)-1]
	if l.liveFirst.Load() == 0 || settled(list[:len(list)-1]) {
		return wire.Epoch{}, false
	}
	return live.q.snapshot().epoch, true
}

// settled reports whether the store has everything of these streams.
func settled(list []*strand) bool {
	for _, s := range list {
		s.q.mu.Lock()
		all := s.q.settled() >= s.q.shown.next-1
		s.q.mu.Unlock()
		if !all {
			return false
		}
	}
	return true
}

// find returns the stream of an epoch and those before it; nil if there is none.
func (l *Lane) find(epoch wire.Epoch) (s *strand, before []*strand) {
	list := l.list()
	for i, s := range list {
		s.q.mu.Lock()
		here := s.q.shown.epoch == epoch
		s.q.mu.Unlock()
		if here {
			return s, list[:i]
		}
	}
	return nil, nil
}

// Next is [Queue.Next] of a stream. A stream waits until those before it are
// acked, but with [Config.LiveFirst] the last one waits for none.
func (l *Lane) Next(epoch wire.Epoch, n wire.Seq) (wire.Entry, bool, error) {
	s, before := l.find(epoch)
	if s == nil {
		return wire.Entry{}, false, nil
	}
	l.alive()
	ahead := l.liveFirst.Load() > 0 && s == l.live()
	if !ahead && !settled(before) {
		return wire.Entry{}, false, nil
	}
	return s.q.Next(epoch, n)
}

// Ack is [Queue.Ack] of a stream.
func (l *Lane) Ack(epoch wire.Epoch, w wire.Seq) {
	if s, _ := l.find(epoch); s != nil {
		l.alive()
		s.q.Ack(epoch, w)
	}
}

// Reject is [Queue.Reject] of a stream. A run of refusals stops that stream
// alone, and those that wait for it.
func (l *Lane) Reject(ctx context.Context, epoch wire.Epoch, n wire.Seq, why string) (stopped bool, err error) {
	s, _ := l.find(epoch)
	if s == nil {
		return false, nil
	}
	l.alive()
	return s.q.Reject(ctx, epoch, n, why)
}

// Announce returns how far a stream goes; false if there is none of that epoch.
// It may be called concurrently with everything else.
func (l *Lane) Announce(epoch wire.Epoch) (wire.Announcement, bool) {
	s, _ := l.find(epoch)
	if s == nil {
		return wire.Announcement{}, false
	}
	l.alive()
	return s.q.Announce(epoch)
}

// Confirm is [Queue.Confirm] for each stream.
func (l *Lane) Confirm(ctx context.Context, collector time.Time) error {
	var errs []error
	for _, s := range l.list() {
		errs = append(errs, s.q.Confirm(ctx, collector))
	}
	return errors.Join(errs...)
}
