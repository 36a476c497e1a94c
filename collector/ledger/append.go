package ledger

import (
	"maps"
	"time"

	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

// Settled is the event of numbers that were stored, dropped or declared.
type Settled struct {
	Time        time.Time
	Lane        wire.Lane
	Epoch       wire.Epoch
	From, To    wire.Seq
	Incarnation wire.Incarnation
	Doubled     bool
	Reason      wire.Reason      // 0: stored
	Fingerprint wire.Fingerprint // of number To, 0 if not known
	Detail      string           // of a tombstone
	Carried     bool             // an import has brought it: the agent was not heard
}

// Append decides on an entry of a stream that the live session has resumed, by
// rule 9. If it is to be recorded, that is with the first number that counts,
// from; else from is 0: it leaves a gap, or all of it is settled. The answer to
// the agent is W, after the event was applied.
func (a *Agent) Append(lane wire.Lane, epoch wire.Epoch, e *wire.Entry) (from wire.Seq) {
	if sabotage.NoDedupe {
		return e.From
	}
	s := a.Stream(lane, epoch)
	if s == nil || e.From > s.W+1 || e.To <= s.W {
		return 0
	}
	return s.W + 1
}

// ApplyEntry settles numbers. It does so whatever W is: a store that rebuilds
// itself from a damaged file may have lost what lies between, and W never falls
// behind what is known to have been settled.
func (a *Agent) ApplyEntry(e Settled) {
	a.back(e.Time)
	i := a.index(e.Lane, e.Epoch)
	if i < 0 {
		i = len(a.streams)
		a.streams = append(a.streams, &Stream{Lane: e.Lane, Epoch: e.Epoch, Base: e.From - 1, W: e.From - 1, Next: e.From, gen: a.gen})
	}
	s := a.edit(i)
	n := uint64(e.To - e.From + 1)
	if e.Reason == 0 {
		s.Stored += n
	} else {
		s.Tombstoned = maps.Clone(s.Tombstoned)
		if s.Tombstoned == nil {
			s.Tombstoned = map[wire.Reason]uint64{}
		}
		s.Tombstoned[e.Reason] += n
	}
	if e.Doubled {
		s.Doubled += n
	}
	if e.Time.After(a.seen) && !e.Carried {
		a.seen = e.Time
	}
	a.declared(&e)
	if e.To <= s.W {
		return
	}
	if k := len(s.History); k == 0 || s.History[k-1].Incarnation != e.Incarnation {
		if k > 0 {
			s.ends = append(s.ends, s.fpW)
		}
		s.History = append(s.History, wire.Boundary{Incarnation: e.Incarnation, First: max(e.From, s.W+1)})
	}
	s.W, s.fpW = e.To, e.Fingerprint
	if e.Carried {
		a.imported(e.Lane)
	}
	s.Next = max(s.Next, s.W+1)
	s.Ahead = above(s.Ahead, s.W)
	l := line{e.Lane, e.Incarnation}
	if o, ok := a.open[l]; ok && o.last <= s.W {
		delete(a.editOpen(), l)
	}
}

// Advance raises a stream's W to a number that is known to have been settled by a
// record which cannot be read any more. What it settled is not counted, and its
// incarnations are those that the agent had announced. It reports whether it did:
// the stream must be known.
func (a *Agent) Advance(lane wire.Lane, epoch wire.Epoch, to wire.Seq) bool {
	i := a.index(lane, epoch)
	if i < 0 {
		return false
	}
	if a.streams[i].W >= to {
		return true
	}
	s := a.edit(i)
	ahead := s.Ahead
	for _, b := range ahead {
		if b.First <= to {
			if len(s.History) > 0 {
				s.ends = append(s.ends, 0)
			}
			s.History = append(s.History, b)
		}
	}
	s.W, s.fpW = to, 0
	s.Next = max(s.Next, to+1)
	s.Ahead = above(ahead, to)
	return true
}

// Entry returns the event of e, which came at t and has been decided on: all of
// From to To counts. A batch that is not well-formed has no fingerprint.
func Entry(t time.Time, lane wire.Lane, epoch wire.Epoch, e *wire.Entry) Settled {
	return EntryWith(t, lane, epoch, e, Fingerprint(e, e.To))
}

// EntryWith is Entry for a caller that has the fingerprint of number e.To.
func EntryWith(t time.Time, lane wire.Lane, epoch wire.Epoch, e *wire.Entry, fp wire.Fingerprint) Settled {
	s := Settled{Time: t, Lane: lane, Epoch: epoch, From: e.From, To: e.To, Incarnation: e.Incarnation, Doubled: e.Doubled, Reason: e.Reason, Fingerprint: fp}
	if e.IsTombstone() {
		s.Detail = e.Detail
	} else {
		s.Reason = 0
	}
	return s
}

// Fingerprint returns the fingerprint of number n of e, 0 if e does not tell: of
// a tombstone only the last number's is known.
func Fingerprint(e *wire.Entry, n wire.Seq) wire.Fingerprint {
	if e.IsTombstone() {
		if n == e.To {
			return e.Fingerprint
		}
		return 0
	}
	b, err := wire.ParseBatch(e.Batch)
	if err != nil {
		return 0
	}
	return b.Fingerprint(n)
}
