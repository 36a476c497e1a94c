package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Purge says what an operator gives up: of what no store has acked, the messages
// that keep to the bound. The zero Purge takes all. Whole batches go, so it takes
// less where a bound lies within one (rule 8).
type Purge struct {
	Before MessageID // those of its stream that have a lower number, if that is not 0
	Older  time.Time // those whose own time is before it, if it is not zero
}

func (p *Purge) check() error {
	if p.Before.Number > 0 && !p.Older.IsZero() {
		return errors.New("purge: before a number or older than a time, not both")
	}
	return nil
}

// Purged is what a purge of a lane took, or would take.
type Purged struct {
	Messages uint64         `json:"messages"`
	Kept     uint64         `json:"kept"`    // messages within the bound that stay, because their batch goes on beyond it
	Unread   uint64         `json:"unread"`  // numbers whose age cannot be told; they stay
	Streams  []PurgedStream `json:"streams"` // those of which it took something
}

// PurgedStream is what it took of one stream.
type PurgedStream struct {
	Number   uint64     `json:"stream"`
	Epoch    wire.Epoch `json:"epoch"`
	Messages uint64     `json:"messages"`
	From     wire.Seq   `json:"from"`   // the first number
	To       wire.Seq   `json:"to"`     // and the last
	Places   int        `json:"places"` // runs of numbers, with others between them that stay
}

const (
	purgeAtOnce = 64     // runs of numbers that one commit drops
	maxPlaces   = 10_000 // runs of numbers that a purge drops in a stream: each is a tombstone to keep
)

// ErrScattered: what is to be purged lies in too many places between messages that
// are to stay.
var ErrScattered = errors.New("purge: the messages lie scattered between others that stay")

// Purge drops messages that no store has acked: tombstones with the reason purged
// stand for them, durable when it returns; their bytes go later. What has got to a
// store meanwhile counts as stored there: the store's ledger decides. Messages that
// are put meanwhile stay. It looks at them without keeping puts waiting.
//
// With an error beside it, what is returned was dropped all the same. The errors are
// ctx's, [ErrClosed], [ErrScattered], [ErrFull] if the disk takes nothing, and
// [ErrUncertain]: then more than what is returned may have been dropped.
func (l *Lane) Purge(ctx context.Context, what Purge) (Purged, error) {
	return l.purge(ctx, what, func(q *Queue, list []span) (uint64, error) { return q.purge(ctx, list) })
}

// Purgeable returns what Purge would take now, and changes nothing. Its errors are
// ctx's and [ErrScattered].
func (l *Lane) Purgeable(ctx context.Context, what Purge) (Purged, error) {
	return l.purge(ctx, what, nil)
}

func (l *Lane) purge(ctx context.Context, what Purge, drop func(*Queue, []span) (uint64, error)) (p Purged, err error) {
	if err := what.check(); err != nil {
		return p, err
	}
	for _, s := range l.numbered() {
		v := s.q.view(s.number)
		var do func([]span) (uint64, error)
		if drop != nil {
			do = func(list []span) (uint64, error) { return drop(s.q, list) }
		}
		err := v.purge(ctx, s.q, what, &p, do)
		v.close()
		if err != nil {
			return p, fmt.Errorf("lane %s, stream %d: %w", l.cfg.Lane, s.number, err)
		}
	}
	return p, nil
}

// ReadPurgeable is [Lane.Purgeable] for a lane that no process has open; of cfg it
// needs Dir, Agent and Lane. It changes nothing in the folder. The errors are also
// those of [ReadMessages].
func ReadPurgeable(ctx context.Context, cfg Config, what Purge) (p Purged, err error) {
	if err := what.check(); err != nil {
		return p, err
	}
	return p, eachAtRest(&cfg, func(v *view) error {
		if err := v.purge(ctx, nil, what, &p, nil); err != nil {
			return &stopped{err}
		}
		return nil
	})
}

// purge finds what is to go, has drop take it, unless that is nil, and adds what was
// or would be taken to p.
func (v *view) purge(ctx context.Context, q *Queue, what Purge, p *Purged, drop func([]span) (uint64, error)) error {
	took := PurgedStream{Number: v.number, Epoch: v.state.epoch}
	var list []span
	flush := func() error {
		if len(list) == 0 {
			return nil
		}
		var n uint64
		var err error
		if drop != nil {
			n, err = drop(list)
		} else {
			for _, r := range list {
				n += v.state.data(r.from, r.to)
			}
		}
		if n > 0 {
			if took.Messages == 0 {
				took.From = list[0].from
			}
			took.Messages += n
			took.To = list[len(list)-1].to
			took.Places += len(list)
		}
		list = list[:0]
		return err
	}
	err := v.doomed(ctx, q, what, p, func(r span) error {
		if took.Places+len(list) == maxPlaces {
			return fmt.Errorf("%w, in more than %d places; name a number", ErrScattered, maxPlaces)
		}
		if list = append(list, r); len(list) < purgeAtOnce {
			return nil
		}
		return flush()
	})
	if ferr := flush(); err == nil {
		err = ferr
	}
	if took.Messages > 0 {
		p.Messages += took.Messages
		p.Streams = append(p.Streams, took)
	}
	return err
}

// doomed hands the runs of numbers that are to go to yield, ascending, cut at no
// batch but the one that holds the last ack. It counts in p what stays.
func (v *view) doomed(ctx context.Context, q *Queue, what Purge, p *Purged, yield func(span) error) error {
	from, to := max(v.acked+1, v.state.oldest), v.state.next-1
	switch {
	case !what.Older.IsZero():
		return v.older(ctx, q, from, what.Older, p, yield)
	case what.Before.Number > 0 && what.Before.Stream != v.number:
		return nil
	case what.Before.Number > 0 && what.Before.Number <= to:
		to = what.Before.Number - 1
		if _, dropped, _ := v.state.tomb(to); !dropped && to >= from {
			blocks, err := v.files.read(&v.state, to)
			var g *gap
			if err != nil && !errors.As(err, &g) { // of what is gone nothing is left to be cut
				return err
			}
			if err == nil && blocks[0].last > to {
				p.Kept += v.state.data(max(blocks[0].first, from), to)
				to = blocks[0].first - 1
			}
		}
	}
	left := v.state.gaps(from, to)
	if len(left) == 0 {
		return nil
	}
	return yield(span{left[0].from, left[len(left)-1].to})
}

// older hands runs of batches all of whose messages are older than t to yield.
func (v *view) older(ctx context.Context, q *Queue, from wire.Seq, t time.Time, p *Purged, yield func(span) error) error {
	var run span
	end := func() error {
		if run.to == 0 {
			return nil
		}
		r := run
		run = span{}
		return yield(r)
	}
	_, err := v.each(ctx, q, from, func(at stretch) (wire.Seq, error) {
		switch {
		case at.tomb != nil: // it parts nothing: its numbers are gone already
			return at.to + 1, nil
		case at.err != nil:
			p.Unread += uint64(at.to - at.from + 1)
			return at.to + 1, end()
		}
		for _, b := range at.blocks {
			in, err := v.agesIn(b, at.from, t)
			switch {
			case err != nil:
				p.Unread += v.state.data(max(b.first, at.from), b.last)
			case in.old < in.all:
				p.Kept += in.old
			case in.all > 0:
				if run.to == 0 {
					run.from = in.from
				}
				run.to = in.to
				continue
			default: // all of it is gone already
				continue
			}
			if err := end(); err != nil {
				return 0, err
			}
		}
		return at.to + 1, nil
	})
	if err != nil {
		return err
	}
	return end()
}

// ages is what a purge has to know of a batch, of its messages that are not dropped.
type ages struct {
	span
	old, all uint64 // how many are older than a time, and how many there are
}

// agesIn looks at a batch from number n on.
func (v *view) agesIn(b block, n wire.Seq, t time.Time) (in ages, err error) {
	p, err := wire.ParseBatch(b.data)
	if err != nil {
		return in, err
	}
	for r, err := range p.Records() {
		if err != nil {
			return in, err
		}
		if _, dropped, _ := v.state.tomb(r.Seq); r.Seq < n || dropped {
			continue
		}
		if in.all == 0 {
			in.from = r.Seq
		}
		in.to = r.Seq
		in.all++
		if r.Record.Time().Before(t) {
			in.old++
		}
	}
	return in, nil
}

// purge drops runs of numbers that cut no batch, as far as they are not acked by
// now, in one commit. It returns how many it took.
func (q *Queue) purge(ctx context.Context, list []span) (n uint64, err error) {
	err = q.do(ctx, func(c *change) (bool, error) {
		s := &c.state
		q.mu.Lock()
		acked, settled := max(q.acked(), s.acked()), q.settled()
		q.mu.Unlock()
		var tombs []tombstone
		for _, r := range list {
			from, to := max(r.from, acked+1, s.oldest), min(r.to, s.next-1)
			if from <= to {
				tombs = append(tombs, q.tombstones(s, from, to, wire.ReasonPurged)...)
			}
		}
		for _, t := range tombs {
			n += uint64(t.to - t.from + 1)
		}
		if n == 0 {
			return false, nil
		}
		q.entomb(c, tombs...)
		if q.tailSize() > minSegmentSize/2 && len(s.gaps(max(settled+1, s.oldest), s.next-1)) == 0 {
			c.fresh, q.rotateAt = true, 0 // nothing is left: the room comes back
		}
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		q.log.Info("messages are purged by an operator", "from", list[0].from, "to", list[len(list)-1].to, "count", n)
	}
	return n, nil
}
