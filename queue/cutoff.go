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
			if len(s.history) == 0 || s.history[len(s.history)-1].Incarnation != p.Incarnation {
				s.history = s.history.Begin(p.Incarnation, s.next)
			}
			s.drop(tombstone{span: span{s.next, p.First - 1}, reason: wire.ReasonCorrupt, time: r.now(), claim: open})
			s.next = p.First
		}
		if len(s.history) == 0 || s.history[len(s.history)-1].Incarnation != p.Incarnation {
			s.history = s.history.Begin(p.Incarnation, p.First)
		}
		// A gap inside the change would break "the newer file has all from its
		// first number on" only for numbers that are tombstones now.
		r.change.blocks = append(r.change.blocks, block{p.First, p.Last(), data})
		s.next = p.Last() + 1
		s.accepted += uint64(p.Count)
		s.bytes += uint64(len(data))
	}
	r.change.link, r.change.drops = true, true
	if s.next > base {
		r.warn("of segment %s, numbers %d to %d were taken over", seg.name(), base, s.next-1)
	} else {
		r.warn("of segment %s, nothing could be taken over", seg.name())
	}
	return nil
}
