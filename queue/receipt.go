package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/fieldpost/fieldpost/wire"
)

// What [Lane.Settle] can return besides the errors of a commit.
var (
	// ErrHistory: the receipt is for another history than the lane's.
	ErrHistory = errors.New("the receipt is for another history than this folder's")

	// ErrStore: it is of a store that the lane does not obey (rule 4).
	ErrStore = errors.New("the receipt is of another store than the lane belongs to")

	// ErrSetBack: a link has shown that the store lacks what it had acked; what it has
	// is for the link to say.
	ErrSetBack = errors.New("the store was set back, and the receipt may be older than that")
)

// Receipt is what a store says it has of a stream, when no link carries its acks.
type Receipt struct {
	Store       wire.StoreID
	Replaced    func(old wire.StoreID) bool // reports whether Store stands in for another
	W           wire.Seq                    // the store has all numbers up to it, 0: none
	Incarnation wire.Incarnation            // of number W
	Fingerprint wire.Fingerprint            // of number W, 0 if the store does not know it
	Rejected    *Refusal                    // the number behind W is refused, nil: it is not
}

// Refusal is a number that a store refuses for good (rule 10).
type Refusal struct {
	Number      wire.Seq
	Incarnation wire.Incarnation
	Fingerprint wire.Fingerprint
	Why         string
}

// Settle does what the ack of a link does, for the stream whose history has number
// W of that incarnation: it obeys the store and notes the ack, in one durable step,
// and then files that hold nothing else are deleted. What is acked already stays
// so: a receipt may come late, twice, or behind a newer one. It returns the numbers
// that are acked by it, to below from if there are none. A number that the store
// refuses becomes a dead letter.
//
// The errors are [ErrHistory], [ErrStore], [ErrSetBack], and those of a commit;
// then nothing was done, but for a refusal after the ack.
func (l *Lane) Settle(ctx context.Context, r Receipt) (from, to wire.Seq, err error) {
	n, inc := r.W, r.Incarnation
	if n == 0 && r.Rejected != nil {
		n, inc = r.Rejected.Number, r.Rejected.Incarnation
	}
	if n == 0 {
		return 1, 0, nil
	}
	for _, s := range l.list() {
		now := s.q.snapshot()
		if n >= now.next || now.history.At(n) != inc {
			continue
		}
		if from, to, err = s.q.settleBy(ctx, &r); err == nil && r.Rejected != nil {
			err = s.q.refusedBy(ctx, r.Rejected)
		}
		return from, to, err
	}
	return 1, 0, fmt.Errorf("lane %s: %w: number %d is not of the opening %s here; the folder was put back to an older state, or is a copy", l.cfg.Lane, ErrHistory, n, inc)
}

// settleBy is Settle of one stream.
func (q *Queue) settleBy(ctx context.Context, r *Receipt) (from, to wire.Seq, err error) {
	err = q.do(ctx, func(c *change) (bool, error) {
		s := &c.state
		from, to = s.acked()+1, s.acked()
		q.mu.Lock()
		behind := q.behind
		q.mu.Unlock()
		own, known := q.files.fingerprint(s, r.W)
		switch {
		case r.W > 0 && (r.W >= s.next || s.history.At(r.W) != r.Incarnation):
			return false, fmt.Errorf("lane %s: %w", q.cfg.Lane, ErrHistory)
		case known && r.Fingerprint != 0 && own != r.Fingerprint:
			return false, fmt.Errorf("lane %s: %w: number %d has fingerprint %s here and %s there", q.cfg.Lane, ErrHistory, r.W, own, r.Fingerprint)
		case !s.store.IsZero() && s.store != r.Store && !r.Replaced(s.store):
			return false, fmt.Errorf("lane %s: %w: it belongs to store %s, the receipt is of %s; if that one takes its place, start the collector with --replaces %s and import again", q.cfg.Lane, ErrStore, s.store, r.Store, s.store)
		case behind > 0 && r.W >= behind:
			return false, fmt.Errorf("lane %s: %w: it lacks %d and what follows; the link sends that again", q.cfg.Lane, ErrSetBack, behind)
		case r.W <= s.acked():
			return false, nil
		}
		if s.store != r.Store {
			s.store, c.link = r.Store, true
		}
		s.ack(r.Store, r.W)
		to = r.W
		q.freshen(c)
		return true, nil
	})
	if err != nil {
		return from, from - 1, err
	}
	if to >= from {
		q.mu.Lock()
		q.recent.trim(to)
		if len(q.shown.gaps(from, to)) > 0 {
			q.refusals = 0
		}
		q.tellAcked()
		q.mu.Unlock()
		q.log.Info("a receipt says that the store has more", "from", from, "to", to, "store", r.Store)
	}
	return from, to, nil
}

// refusedBy makes a dead letter of a number that a receipt refuses, if it is that
// message.
func (q *Queue) refusedBy(ctx context.Context, r *Refusal) error {
	s := q.snapshot()
	if _, dropped, _ := s.tomb(r.Number); dropped || r.Number < s.oldest || r.Number <= s.acked() {
		return nil
	}
	own, known := q.files.fingerprint(&s, r.Number)
	if r.Number >= s.next || s.history.At(r.Number) != r.Incarnation || known && own != r.Fingerprint {
		return fmt.Errorf("lane %s: %w: the number %d that is refused is another message here", q.cfg.Lane, ErrHistory, r.Number)
	}
	_, err := q.Reject(ctx, s.epoch, r.Number, r.Why)
	return err
}
