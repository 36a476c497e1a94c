package queue

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// cutOff takes the newest transaction of the newest file back, which does not
// read as a whole: it was being written when the power went, and nobody was told
// that it is on disk. Its batches that are whole all the same are taken over.
// Where the transaction before it does not read either, the file is damaged, and
// left as it was.
func (r *recovery) cutOff(seg segment, cause error) error {
	path := filepath.Join(r.dir, seg.name())
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	list, err := metaPages(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(list) < 2 || list[1].tx < firstTx {
		return cause
	}
	undo, err := takeBack(path, list[1].tx)
	if err != nil {
		return err
	}
	if err := r.adopt(seg, true); err != nil {
		return errors.Join(cause, err, undo())
	}
	r.warn("the last commit of segment %s was cut off: %v", seg.name(), cause)
	return r.salvage(seg, false)
}

// salvage takes over the batches that a damaged newest file still shows to a
// search of its bytes. With gaps, numbers between them become tombstones; else
// the first one that is missing ends it: nobody was promised what comes after.
func (r *recovery) salvage(seg segment, gaps bool) error {
	path := filepath.Join(r.dir, seg.name())
	found, err := scan(path, r.lane)
	if err != nil && len(found) == 0 {
		return err
	}
	s := &r.change.state
	base := s.next
	var others asides
	if gaps {
		if err := others.look(r.files(), s.history, s.next); err != nil {
			return err
		}
	}
	for _, e := range found {
		if e.last < s.next {
			continue
		}
		data, err := e.load(path)
		if err != nil {
			return err
		}
		p, err := wire.ParseBatch(data)
		if err != nil || e.first < s.next && !s.epoch.IsZero() {
			continue // changed since, or half of it is known otherwise
		}
		if !r.memo.knows(p.Incarnation) {
			continue // another's
		}
		if k := len(s.history) - 1; k >= 0 && slices.ContainsFunc(s.history[:k], func(b wire.Boundary) bool { return b.Incarnation == p.Incarnation }) {
			continue // of an opening that was over before these numbers
		}
		if s.epoch.IsZero() { // no file has told: this is the oldest there is
			s.epoch, s.oldest, s.next = p.Epoch, 1, p.First // what is before it is missing, unless a store has it
			base = p.First
		}
		if p.First > s.next && !gaps {
			break
		}
		if p.First > s.next {
			r.fill(&others, seg, p.BatchHeader)
		}
		if p.First > s.next {
			r.bury(p.First-1, p.Incarnation)
		}
		r.take(p.BatchHeader, data)
	}
	r.change.link, r.change.drops = true, true
	if s.next > base {
		r.warn("of segment %s, numbers %d to %d were taken over", seg.name(), base, s.next-1)
	} else {
		r.warn("of segment %s, nothing could be taken over", seg.name())
	}
	return nil
}

// take adds a batch to the change. A gap before it would break "the newer file has
// all from its first number on" only for numbers that are tombstones now.
func (r *recovery) take(p wire.BatchHeader, data []byte) {
	s := &r.change.state
	s.enter(p.Incarnation)
	r.change.blocks = append(r.change.blocks, block{p.First, p.Last(), data})
	s.next = p.Last() + 1
	s.accepted += uint64(p.Count)
	s.bytes += uint64(len(data))
}

// bury gives the numbers up to n up. They are of the opening that the memo says, else
// of inc.
func (r *recovery) bury(n wire.Seq, inc wire.Incarnation) {
	s := &r.change.state
	for s.next <= n {
		own, end := inc, n
		if m := r.memo; m != nil && !m.relabelled && !m.history.At(s.next).IsZero() {
			own, end = m.history.At(s.next), m.history.End(s.next, n)
		}
		s.enter(own)
		s.drop(tombstone{span: span{s.next, end}, reason: wire.ReasonCorrupt, time: r.now(), claim: open})
		s.next = end + 1
	}
}

// enter lets an opening write from the next number on, unless it does.
func (s *state) enter(inc wire.Incarnation) {
	if k := len(s.history) - 1; k < 0 || s.history[k].Incarnation != inc {
		s.history = s.history.Begin(inc, s.next)
	}
}

// fill takes over what files that were put aside have of the numbers between what
// was taken over already and the batch p of segment seg, and of the same opening as
// either: perhaps one of them is a copy of this one.
func (r *recovery) fill(others *asides, seg segment, p wire.BatchHeader) {
	s := &r.change.state
	for s.next < p.First {
		b, ok := others.find(s.next, func(f *aside, e extent) (block, bool) {
			if f.ordinal < seg.ordinal && seg.first <= e.first || e.first < s.next || e.last >= p.First {
				return block{}, false
			}
			data, err := e.load(f.path)
			if err != nil {
				return block{}, false
			}
			q, err := wire.ParseBatch(data)
			k := len(s.history) - 1
			return block{e.first, e.last, data}, err == nil && r.memo.knows(q.Incarnation) && (q.Incarnation == p.Incarnation || k >= 0 && q.Incarnation == s.history[k].Incarnation)
		})
		if !ok {
			return
		}
		q, err := wire.ParseBatch(b.data)
		if err != nil || q.First != b.first || q.Last() != b.last {
			return // changed since
		}
		if b.first > s.next {
			r.bury(b.first-1, q.Incarnation)
		}
		r.take(q.BatchHeader, b.data)
	}
}
