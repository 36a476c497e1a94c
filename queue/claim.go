package queue

import (
	"context"

	"github.com/fieldpost/fieldpost/wire"
)

// claim is what is known of how a tombstone stands in the store's ledger (rule
// 8). A message that was on its way when it was given up may be stored; its
// tombstone is void then, and not counted.
type claim byte

const (
	certain claim = iota // no store can have its numbers as data
	open                 // they may have got there first: the next ack or welcome tells
	void                 // the store has them as data
)

// What makes a claim certain is the order of the link: within one session the
// store takes entries as they were sent, a new session ends what the old one had
// on its way, and after a rewind all that was sent before it is discarded. So
// what has been handed out as data, and not asked for again, is what may be
// stored; and a number that an ack covers before its tombstone was asked for is.

// entomb adds tombstones to a change, for numbers that have none. What may have
// reached the store until now is an open claim; what has not is not handed out any
// more (see [Queue.handOut]).
func (q *Queue) entomb(c *change, list ...tombstone) {
	if len(list) == 0 {
		return
	}
	q.mu.Lock()
	handed := q.handed
	if part := (span{max(list[0].from, handed+1), list[len(list)-1].to}); part.from <= part.to {
		q.burying = part.join(q.burying)
	}
	q.burials++
	q.mu.Unlock()
	var split []tombstone
	for _, t := range list {
		if t.claim = certain; t.from <= handed && t.reason != wire.ReasonRejected { // what is refused is not stored
			if t.to > handed {
				rest := t
				rest.from = handed + 1
				t.to = handed
				t.fingerprint, _ = q.files.fingerprint(&c.state, t.to)
				t.claim = open
				split = append(split, t, rest)
				continue
			}
			t.claim = open
		}
		split = append(split, t)
	}
	c.state.drop(split...)
	c.drops = true
}

// join returns the smallest span that holds both; a zero one is empty.
func (s span) join(o span) span {
	switch {
	case s.to == 0:
		return o
	case o.to == 0:
		return s
	}
	return span{min(s.from, o.from), max(s.to, o.to)}
}

// handOut notes that an entry leaves the lane, as it was made from the state
// before burials drops were begun. False: a drop has come between, look again.
func (q *Queue) handOut(e *wire.Entry, burials uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.burials != burials {
		return false
	}
	q.handed = e.To
	return true
}

// buried ends the time for which numbers were kept back because their tombstones
// were being committed. The caller holds mu.
func (q *Queue) buried() { q.burying = span{} }

// calm lets the numbers go out whose tombstones could certainly not be stored.
func (q *Queue) calm() {
	q.mu.Lock()
	kept := q.burying.to > 0 && q.stuck == nil
	if kept {
		q.buried()
	}
	q.mu.Unlock()
	if kept && q.cfg.Synced != nil {
		q.cfg.Synced()
	}
}

// certify commits that the tombstones of a range are what the store gets.
func (q *Queue) certify(from, to wire.Seq) error {
	return q.do(context.Background(), func(c *change) (bool, error) {
		n := c.state.certify(from, to)
		c.drops, c.silent = c.drops || n > 0, true
		return n > 0, nil
	})
}

// heed takes what is known and not committed yet: tombstones that are certain, and
// an ack. It reports whether a tombstone has changed, and how many numbers were
// given up too late.
func (s *state) heed(sure []span, pending mark) (changed bool, late uint64) {
	for _, part := range sure {
		changed = s.certify(part.from, part.to) > 0 || changed
	}
	if pending.upto > 0 {
		was := s.acked()
		s.ack(pending.store, pending.upto)
		late = s.reclaim(was+1, s.acked(), open, void)
	}
	return changed || late > 0, late
}

// certify makes the tombstones of a range certain. It returns how many numbers were
// not.
func (s *state) certify(from, to wire.Seq) uint64 {
	return s.reclaim(from, to, open, certain) + s.reclaim(from, to, void, certain)
}

// reclaim gives tombstones of a range that have the claim was another one, and
// corrects the counts. It returns how many numbers they have there.
func (s *state) reclaim(from, to wire.Seq, was, is claim) (count uint64) {
	k := s.tombAt(from)
	end := k
	found := false
	for ; end < len(s.tombs) && s.tombs[end].from <= to; end++ {
		found = found || s.tombs[end].claim == was
	}
	if !found {
		return 0
	}
	all := append([]tombstone(nil), s.tombs[:k]...)
	for _, t := range s.tombs[k:end] {
		if t.claim != was {
			all = append(all, t)
			continue
		}
		if t.from < from {
			all = append(all, t.part(t.from, from-1))
		}
		part := t.part(max(t.from, from), min(t.to, to))
		part.claim = is
		n := uint64(part.to - part.from + 1)
		count += n
		switch {
		case is == void:
			s.dropped[t.reason] -= n
		case was == void:
			s.dropped[t.reason] += n
		}
		all = append(all, part)
		if t.to > to {
			all = append(all, t.part(to+1, t.to))
		}
	}
	s.merge(append(all, s.tombs[end:]...))
	return count
}

// part is the tombstone of some of its numbers.
func (t tombstone) part(from, to wire.Seq) tombstone {
	if to != t.to {
		t.fingerprint = 0 // it is the last number's
	}
	t.from, t.to = from, to
	return t
}
