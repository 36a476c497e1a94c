package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/fieldpost/fieldpost/wire"
)

// ErrChanged is returned by [Carried.Entries] if a welcome has relabelled the
// stream meanwhile: what was read is not to be used, begin again.
var ErrChanged = errors.New("a welcome has changed the stream's history meanwhile")

// Carried is one stream as an export takes it: synced state as it is when
// [Lane.Carry] returns, and then its numbers. Its fields are the caller's.
type Carried struct {
	State  wire.StreamState // as a hello would tell it, with all boundaries
	Start  wire.Seq         // what is carried begins here
	Oldest wire.Seq         // the oldest number that the stream holds
	Before wire.Fingerprint // of number Start-1, 0 if not known
	Store  wire.StoreID     // that the stream obeys, zero before its first welcome
	Acks   []Acked          // ascending
	Doubt  wire.Seq         // numbers up to here that are gone may be stored twice

	q          *Queue
	relabelled uint64
}

// Acked says that a store has acked the numbers up to Upto, above the one before.
type Acked struct {
	Store wire.StoreID
	Upto  wire.Seq
}

// Carry returns the lane's streams that have something which no store has acked,
// oldest first, as they are now; with all, everything that a stream still holds,
// and also streams that hold nothing any more. Nothing is freed by it (rule 16).
func (l *Lane) Carry(ctx context.Context, all bool) ([]*Carried, error) {
	var list []*Carried
	for _, s := range l.list() {
		if err := s.q.sync(ctx); err != nil {
			return nil, err
		}
		if c := s.q.carry(all); c.Start < c.State.Next || all && c.State.Next > 1 {
			list = append(list, c)
		}
	}
	return list, nil
}

func (q *Queue) carry(all bool) *Carried {
	q.mu.Lock()
	s, settled := q.shown, q.settled()
	q.mu.Unlock()
	c := &Carried{State: q.told(&s), Start: max(settled+1, s.oldest), Oldest: s.oldest, Store: s.store, Doubt: s.doubt, q: q, relabelled: s.relabelled}
	if all {
		c.Start = s.oldest
	}
	for _, m := range s.marks {
		c.Acks = append(c.Acks, Acked{m.store, m.upto})
	}
	c.Before, _ = q.files.fingerprint(&s, c.Start-1)
	return c
}

// Entries hands what the stream carries to yield, in order: data as it lies in the
// queue, and tombstones. An entry's batch is shared and must not be changed.
// Numbers that a store acks meanwhile may be left out. The errors are ctx's and
// yield's, [ErrChanged], and that of a disk that cannot be read now; what cannot be
// had any more leaves a tombstone, as it would on a link.
func (c *Carried) Entries(ctx context.Context, yield func(*wire.Entry) error) error {
	for n := c.Start; n < c.State.Next; {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := c.entry(n)
		if err != nil {
			return err
		}
		if e.From == n {
			if err := yield(&e); err != nil {
				return err
			}
		}
		n = e.To + 1
	}
	if c.q.snapshot().relabelled != c.relabelled {
		return fmt.Errorf("lane %s: %w", c.State.Lane, ErrChanged)
	}
	return nil
}

// entry returns what is to be carried of number n. An entry without From says
// that the numbers up to To were acked and deleted meanwhile.
func (c *Carried) entry(n wire.Seq) (wire.Entry, error) {
	q := c.q
	for renewed := false; ; {
		s := q.snapshot()
		if s.relabelled != c.relabelled {
			return wire.Entry{}, fmt.Errorf("lane %s: %w", c.State.Lane, ErrChanged)
		}
		if n < s.oldest {
			return wire.Entry{To: s.oldest - 1}, nil
		}
		s.marks, s.next = nil, c.State.Next // which store has what is for the import to say
		e, limit := frame(&s, n)
		if e.Reason != 0 {
			return e, nil
		}
		blocks, err := q.files.read(&s, n)
		if err == nil {
			e.To, e.Batch = min(blocks[0].last, limit), blocks[0].data
			return e, nil
		}
		if q.snapshot().oldest > n {
			continue
		}
		if errors.Is(err, errTailLost) && !renewed { // it can be searched once another one is begun, by any commit
			renewed = true
			if err := q.do(context.Background(), func(*change) (bool, error) { return true, nil }); err != nil {
				return wire.Entry{}, err
			}
			continue
		}
		g := (*gap)(nil)
		if !errors.As(err, &g) {
			return wire.Entry{}, fmt.Errorf("lane %s: %w", c.State.Lane, err)
		}
		if err := q.giveUp(g); err != nil {
			return wire.Entry{}, fmt.Errorf("lane %s: %w", c.State.Lane, err)
		}
	}
}
