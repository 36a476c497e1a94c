package queue

import (
	"cmp"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// state is everything a lane knows about its stream besides the messages. The
// newest segment holds all of it, so that older segments are data only.
//
// A state is a value: its slices are never changed in place, a change makes new
// ones. So a copy is cheap, and what readers see is one whole committed state.
type state struct {
	// Record "link": changes at an opening and at a welcome.
	epoch      wire.Epoch
	store      wire.StoreID // the store last obeyed, zero before the first welcome
	anchor     anchor       // which time since the machine's start the lane's age belongs to
	confirmed  confirmed    // when a collector agreed with the machine's clock
	history    wire.History
	doubled    []span   // held numbers that may be stored twice (rule 2), ascending
	doubt      wire.Seq // numbers up to here that are gone may be stored twice
	forks      uint64   // new epochs made by a welcome
	rolledBack uint64   // relabellings made by a welcome, because memory went back
	relabelled uint64   // numbers that were given another incarnation
	turn       uint64   // of a lane's streams the one with the highest takes puts

	// Record "drops": changes with a drop and when its numbers are gone.
	tombs   []tombstone // of numbers from oldest on, ascending, none overlap
	dropped [256]uint64 // numbers ever dropped, by reason, but for those that a store has all the same
	dead    uint64      // dead letters ever kept

	inputs map[string]checkpoint // records "input": of sources; a new map with each change

	forgotten []letters // dead letters that are not kept any more, ascending, none touch
	evicted   uint64    // of them, those that had to go for want of room

	// Record "tip": written with every commit.
	clean    bool             // closed in order: the last commit needs no rewriting
	oldest   wire.Seq         // the oldest number that is held; next if none is
	before   wire.Fingerprint // of number oldest-1, 0 if not known
	next     wire.Seq         // number of the next message
	commit   wire.Seq         // the number the last transaction began at; next if it wrote none
	letter   uint64           // the dead letter the last transaction began at; dead if it kept none
	accepted uint64           // messages ever accepted
	bytes    uint64           // bytes of batches ever accepted
	age      time.Duration    // the lane's at this commit
	marks    []mark           // acks, ascending
}

// span is the numbers from to to, both included.
type span struct{ from, to wire.Seq }

// mark says that a store acked the numbers up to upto, above the mark before it.
type mark struct {
	store wire.StoreID
	upto  wire.Seq
}

// tombstone is a run of dropped numbers.
type tombstone struct {
	span
	reason      wire.Reason
	time        time.Time
	fingerprint wire.Fingerprint // of number to, 0 if not known
	detail      string
	claim       claim
}

// endless stands for "no bound" among numbers.
const endless = ^wire.Seq(0)

// live returns the incarnation that writes now.
func (s *state) live() wire.Incarnation { return s.history[len(s.history)-1].Incarnation }

// acked returns the largest number that any store acked.
func (s *state) acked() wire.Seq {
	if len(s.marks) == 0 {
		return 0
	}
	return s.marks[len(s.marks)-1].upto
}

// ack notes that store took the numbers up to w. A mark never goes back: what an
// earlier store acked may be gone.
func (s *state) ack(store wire.StoreID, w wire.Seq) {
	w = min(w, s.next-1)
	if w <= s.acked() {
		return
	}
	s.marks = slices.Clone(s.marks)
	if k := len(s.marks) - 1; k >= 0 && s.marks[k].store == store {
		s.marks[k].upto = w
	} else {
		s.marks = append(s.marks, mark{store, w})
	}
}

// takenBy returns the store that acked number n, zero if none did, and the last
// number for which the answer is the same.
func (s *state) takenBy(n wire.Seq) (wire.StoreID, wire.Seq) {
	for _, m := range s.marks {
		if n <= m.upto {
			return m.store, m.upto
		}
	}
	return wire.StoreID{}, endless
}

// mayBeDoubled reports whether number n may be stored twice, and the last number
// for which the answer is the same.
func (s *state) mayBeDoubled(n wire.Seq) (bool, wire.Seq) {
	if n < s.oldest {
		if n <= s.doubt {
			return true, min(s.doubt, s.oldest-1)
		}
		return false, s.oldest - 1
	}
	for _, d := range s.doubled {
		switch {
		case n < d.from:
			return false, d.from - 1
		case n <= d.to:
			return true, d.to
		}
	}
	return false, endless
}

// tombAt returns the index of the first tombstone that ends at n or later.
func (s *state) tombAt(n wire.Seq) int {
	i, _ := slices.BinarySearchFunc(s.tombs, n, func(t tombstone, n wire.Seq) int { return cmp.Compare(t.to, n) })
	return i
}

// tomb returns the tombstone of number n. If there is none, next is the first
// number after n that has one.
func (s *state) tomb(n wire.Seq) (t tombstone, ok bool, next wire.Seq) {
	i := s.tombAt(n)
	if i == len(s.tombs) {
		return tombstone{}, false, endless
	}
	if s.tombs[i].from <= n {
		return s.tombs[i], true, 0
	}
	return tombstone{}, false, s.tombs[i].from
}

// gaps returns the parts of the range that have no tombstone.
func (s *state) gaps(from, to wire.Seq) []span {
	var out []span
	for n := from; n <= to; {
		t, ok, next := s.tomb(n)
		if ok {
			n = t.to + 1
			continue
		}
		end := min(to, next-1)
		out = append(out, span{n, end})
		n = end + 1
	}
	return out
}

// data returns how many numbers of the range have no tombstone.
func (s *state) data(from, to wire.Seq) (n uint64) {
	for _, part := range s.gaps(from, to) {
		n += uint64(part.to - part.from + 1)
	}
	return n
}

// drop adds tombstones, whose numbers have none yet, and counts them.
func (s *state) drop(list ...tombstone) {
	all := slices.Clone(s.tombs)
	for _, t := range list {
		s.dropped[t.reason] += uint64(t.to - t.from + 1)
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b tombstone) int { return cmp.Compare(a.from, b.from) })
	s.merge(all)
}

// merge makes ascending tombstones, which it takes over, the state's. Neighbours
// of one reason, detail and claim merge unless a boundary is between them (rule 8),
// or the last ack: the fingerprint there is what the next welcome compares.
func (s *state) merge(all []tombstone) {
	merged := all[:0]
	for _, t := range all {
		if k := len(merged) - 1; k >= 0 {
			p := &merged[k]
			if p.to+1 == t.from && p.to != s.acked() && p.reason == t.reason && p.detail == t.detail && p.claim == t.claim && s.history.End(p.to, endless) >= t.from {
				p.to, p.time, p.fingerprint = t.to, t.time, t.fingerprint
				continue
			}
		}
		merged = append(merged, t)
	}
	s.tombs = merged
}

// release forgets what lies below a new oldest number. before is the fingerprint
// of the number before it. It reports which records have changed.
func (s *state) release(oldest wire.Seq, before wire.Fingerprint) (link, drops bool) {
	s.oldest, s.before = oldest, before
	if i := s.tombAt(oldest); i > 0 {
		s.tombs, drops = s.tombs[i:], true
	}
	for len(s.doubled) > 0 && s.doubled[0].to < oldest {
		s.doubled, link = s.doubled[1:], true
	}
	// Boundaries that no hello has room for are of use to nobody once their
	// numbers are gone.
	for len(s.history) > wire.MaxHelloBounds && s.history[1].First <= oldest {
		s.history, link = s.history[1:], true
	}
	return link, drops
}

// relabel gives everything from number at on to a new incarnation (rule 2). What
// is held of it may be stored twice, and so may what is gone.
func (s *state) relabel(at wire.Seq, inc wire.Incarnation) {
	s.history = s.history.Begin(inc, at)
	s.doubt = max(s.doubt, s.next-1)
	from := max(at, s.oldest)
	if from >= s.next {
		return
	}
	s.relabelled += uint64(s.next - from)
	var kept []span
	for _, d := range s.doubled {
		if d.from < from {
			kept = append(kept, span{d.from, min(d.to, from-1)})
		}
	}
	if k := len(kept) - 1; k >= 0 && kept[k].to+1 == from {
		kept[k].to = s.next - 1
	} else {
		kept = append(kept, span{from, s.next - 1})
	}
	s.doubled = kept
}

// backlog returns how many numbers above acked still have to go out as data.
func (s *state) backlog(acked wire.Seq) uint64 {
	from := max(acked+1, s.oldest)
	if from >= s.next {
		return 0
	}
	n := uint64(s.next - from)
	for _, t := range s.tombs[s.tombAt(from):] {
		n -= uint64(t.to - max(t.from, from) + 1)
	}
	return n
}
