package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

// Drop gives up the numbers from to to that are not acked and have no tombstone
// yet, as far as their whole batch is in the range, or what is above the acks of
// it (rule 8). The drop is done, and durable, when Drop returns; it returns how
// many numbers it took. Their bytes go later. What a store has got meanwhile
// counts as stored there: the store's ledger decides.
func (q *Queue) Drop(ctx context.Context, from, to wire.Seq, reason wire.Reason) (n uint64, err error) {
	if reason == 0 || reason >= wire.ReasonStoredIn {
		return 0, fmt.Errorf("drop: %s is no reason to drop", reason)
	}
	err = q.do(ctx, func(c *change) (bool, error) {
		s := &c.state
		q.mu.Lock()
		acked := max(q.acked(), s.acked())
		q.mu.Unlock()
		from, to := max(from, acked+1, s.oldest), min(to, s.next-1)
		if from > to {
			return false, nil
		}
		if from, to, err = q.wholeBatches(s, from, to, acked); err != nil || from > to {
			return false, err
		}
		list := q.tombstones(s, from, to, reason)
		for _, t := range list {
			n += uint64(t.to - t.from + 1)
		}
		q.entomb(c, list...)
		return n > 0, nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// wholeBatches narrows a range so that it cuts no batch but at the acks.
func (q *Queue) wholeBatches(s *state, from, to, acked wire.Seq) (wire.Seq, wire.Seq, error) {
	edge := func(n wire.Seq) (b block, ok bool, err error) {
		if _, dropped, _ := s.tomb(n); dropped {
			return block{}, false, nil
		}
		blocks, err := q.files.read(s, n)
		var g *gap
		if errors.As(err, &g) && !errors.Is(err, errTailLost) { // nothing is left of it to be cut
			return block{}, false, nil
		}
		if err != nil {
			return block{}, false, err
		}
		return blocks[0], true, nil
	}
	b, ok, err := edge(from)
	if err != nil {
		return 0, 0, err
	}
	if ok && b.first < from && from > max(acked+1, s.oldest) {
		from = b.last + 1
	}
	if from > to {
		return from, to, nil
	}
	if b, ok, err = edge(to); err != nil {
		return 0, 0, err
	}
	if ok && b.last > to {
		to = b.first - 1
	}
	return from, to, nil
}

// Reject takes a store's refusal of number n for good (rule 10): the message
// becomes a dead letter and the number a tombstone, in one transaction, durable
// on return. A number that is not data any more is left as it is. It returns true
// once a run of 100 refusals, with nothing stored between them, has stopped the
// lane.
func (q *Queue) Reject(ctx context.Context, epoch wire.Epoch, n wire.Seq, why string) (stopped bool, err error) {
	why = shorten(why)
	done := false
	err = q.do(ctx, func(c *change) (bool, error) {
		s := &c.state
		q.mu.Lock()
		stopped = q.stopped
		q.mu.Unlock()
		if _, dropped, _ := s.tomb(n); stopped || dropped || epoch != s.epoch || n < s.oldest || n >= s.next {
			return false, nil
		}
		q.mu.Lock()
		blocks := q.recent.from(n, 0) // as Next has it, which may be all that is left of it
		q.mu.Unlock()
		if blocks == nil {
			blocks, err = q.files.read(s, n)
		}
		var g *gap
		if errors.As(err, &g) {
			return false, nil // Next finds out and leaves a tombstone
		}
		if err != nil {
			return false, err
		}
		p, err := wire.ParseBatch(blocks[0].data)
		if err != nil {
			return false, err
		}
		for r, err := range p.Records() {
			if err != nil {
				return false, err
			}
			if r.Seq == n {
				now := time.Now()
				c.letters = append(c.letters, letter{ordinal: s.dead, epoch: epoch, n: n, time: now, why: why, record: r.Record})
				q.entomb(c, tombstone{span: span{n, n}, reason: wire.ReasonRejected, time: now, fingerprint: r.Record.Fingerprint(), detail: why})
			}
		}
		s.dead++
		q.evict(s, c.letters)
		done = true
		return true, nil
	})
	if err != nil || !done {
		return stopped, err
	}
	q.sweep()
	q.mu.Lock()
	q.refusals++
	q.stopped = q.refusals >= maxRefusals
	stopped = q.stopped
	q.mu.Unlock()
	q.log.Warn("the store refuses a message for good; it is a dead letter now", "number", n, "why", why)
	if stopped {
		q.log.Error("the lane is stopped: the store refused too many messages in a row", "refusals", maxRefusals, "why", why)
	}
	return stopped, nil
}

// shorten cuts a text to what a tombstone carries, between characters.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= wire.MaxReason {
		return s
	}
	s = s[:wire.MaxReason]
	for len(s) > 0 && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
