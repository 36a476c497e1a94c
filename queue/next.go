package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

const (
	smallBatch = 16 << 10 // bytes of records; a smaller batch is sent together with small neighbours
	packedSize = 64 << 10 // bytes of records up to which they are
)

// Next returns what is to be sent at number n: a declaration where another store
// has acked it, or where it is not held any more; else its tombstone; else the
// batch that contains it. False: nothing synced is there yet, or the lane is
// stopped. The entry's batch is shared and must not be changed. It is called by
// one goroutine at a time.
//
// Where the bytes of n cannot be had, even by a search of its file, Next commits
// a tombstone for them and returns that. An error is a disk that cannot be read
// now; asking again later is right.
func (q *Queue) Next(epoch wire.Epoch, n wire.Seq) (wire.Entry, bool, error) {
	for renewed, straight := false, false; ; {
		q.mu.Lock()
		s, stopped, burying, burials := q.shown, q.stopped, q.burying, q.burials
		blocks := q.recent.from(n, readAhead)
		q.mu.Unlock()
		if stopped || epoch != s.epoch || n == 0 || n >= s.next || burying.from <= n && n <= burying.to {
			return wire.Entry{}, false, nil
		}
		e, limit := frame(&s, n)
		if e.Reason != 0 {
			if t, ok, _ := s.tomb(n); ok && t.claim != certain && t.reason == e.Reason {
				err := q.certify(n, e.To)
				if err == nil {
					continue
				}
				// A disk that takes nothing must not keep the lane from draining.
				q.mu.Lock()
				q.sure = append(q.sure, span{n, e.To})
				q.mu.Unlock()
			}
			if e.Time = cmpTime(e.Time); !q.handOut(&e, burials) {
				continue
			}
			return e, true, nil
		}
		if n < burying.from {
			limit = min(limit, burying.from-1)
		}
		var err error
		if blocks == nil {
			blocks, err = q.files.read(&s, n)
		}
		if err == nil {
			e.To = min(blocks[0].last, limit)
			e.Batch = blocks[0].data
			if packed := pack(blocks, n, limit, q.policy().Codec); packed != nil {
				e.Batch, e.To = packed.data, packed.last
			}
			if !q.handOut(&e, burials) {
				continue
			}
			return e, true, nil
		}
		if now := q.snapshot(); now.oldest > n {
			continue // its file was deleted meanwhile: it is acked
		}
		if errors.Is(err, errAstray) && !straight {
			straight = true
			if serr := q.do(context.Background(), func(*change) (bool, error) { return false, q.straighten() }); serr != nil {
				return wire.Entry{}, false, fmt.Errorf("%w; %w", err, serr)
			}
			continue
		}
		if errors.Is(err, errTailLost) { // it can be searched once another one is begun, by any commit
			if renewed {
				return wire.Entry{}, false, err
			}
			renewed = true
			if cerr := q.do(context.Background(), func(*change) (bool, error) { return true, nil }); cerr != nil {
				return wire.Entry{}, false, fmt.Errorf("%w; another one could not be begun: %w", err, cerr)
			}
			continue
		}
		var g *gap
		if !errors.As(err, &g) {
			return wire.Entry{}, false, err
		}
		if err := q.giveUp(g); err != nil {
			return wire.Entry{}, false, err
		}
	}
}

func cmpTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

// frame says what number n is in state s: a tombstone or a declaration, whole,
// or, with Reason 0, data up to at most limit. All its numbers have one
// incarnation, one answer to "may it be doubled", and one ack.
func frame(s *state, n wire.Seq) (e wire.Entry, limit wire.Seq) {
	e.From, e.Incarnation = n, s.history.At(n)
	e.To = s.history.End(n, s.next-1)
	var upto wire.Seq
	e.Doubled, upto = s.mayBeDoubled(n)
	e.To = min(e.To, upto)
	store, upto := s.takenBy(n)
	e.To = min(e.To, upto)
	if e.Incarnation.IsZero() { // older than any boundary that is left
		e.Incarnation = s.history[0].Incarnation
		e.To = min(e.To, s.history[0].First-1)
	}
	t, dropped, next := s.tomb(n)
	switch {
	case !store.IsZero() && store != s.store:
		e.Reason, e.Detail = wire.ReasonStoredIn, store.String()
		if e.To == s.oldest-1 {
			e.Fingerprint = s.before
		}
	case n < s.oldest:
		e.Reason = wire.ReasonLostAtStore
		if e.To = min(e.To, s.oldest-1); e.To == s.oldest-1 {
			e.Fingerprint = s.before
		}
	case dropped:
		e.Reason, e.Time, e.Detail = t.reason, t.time, t.detail
		if e.To = min(e.To, t.to); e.To == t.to {
			e.Fingerprint = t.fingerprint
		}
	default:
		e.To = min(e.To, next-1)
	}
	return e, e.To
}

// pack joins small neighbours into one larger batch as it is sent, compressed as
// the lane is; nil if there is nothing to join. Only whole batches of one birth
// and one incarnation are.
func pack(blocks []block, n, limit wire.Seq, codec wire.Codec) *block {
	if len(blocks) < 2 || blocks[0].first != n || blocks[0].last > limit {
		return nil
	}
	var h wire.BatchHeader
	var records []byte
	k := 0
	for ; k < len(blocks) && len(records) < packedSize; k++ {
		b := blocks[k]
		if k > 0 && b.first != blocks[k-1].last+1 || b.last > limit {
			break
		}
		p, err := wire.ParseBatch(b.data)
		if err != nil || p.Raw >= smallBatch || k > 0 && (p.Epoch != h.Epoch || p.Incarnation != h.Incarnation) {
			break
		}
		if records, err = p.AppendRecords(records); err != nil {
			break
		}
		if k == 0 {
			h = p.BatchHeader
			h.Count = 0
		}
		h.Count += p.Count
	}
	if k < 2 {
		return nil
	}
	h.Codec = codec
	return &block{h.First, h.Last(), wire.AppendBatch(nil, h, records)}
}

// giveUp commits a tombstone for numbers that cannot be had any more. Numbers of
// a missing file wait for a welcome (rule 12): before it, a lane does not know
// what the store needs.
func (q *Queue) giveUp(g *gap) error {
	q.mu.Lock()
	welcomed := q.welcomed
	q.mu.Unlock()
	if g.reason == wire.ReasonMissing && !welcomed {
		return g
	}
	err := q.do(context.Background(), func(c *change) (bool, error) {
		s := &c.state
		var list []tombstone
		for _, part := range s.gaps(max(g.from, s.oldest), min(g.to, s.next-1)) {
			list = append(list, tombstone{span: part, reason: g.reason, time: time.Now()})
		}
		q.entomb(c, list...)
		return len(list) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w; the tombstone for them could not be written: %w", g, err)
	}
	file := "none"
	if g.seg.ordinal > 0 {
		file = g.seg.name()
	}
	q.log.Error("messages are lost; a tombstone says so to the store", "from", g.from, "to", g.to, "reason", g.reason, "segment", file, "error", g.cause)
	return nil
}
