package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// maxOpen bounds the incarnations that an agent has announced and not delivered, so
// that none can fill the store's memory with inventions.
const maxOpen = 4 * wire.MaxHelloBounds

// ErrLimit: the agent would have the store remember more of it than any agent needs.
var ErrLimit = errors.New("too much to remember of one agent")

// Resumed is the event of a stream that was opened for a session.
type Resumed struct {
	Session    uint64
	Lane       wire.Lane
	Epoch      wire.Epoch
	Created    bool             // the stream is new
	Base       wire.Seq         // its W
	FPBase     wire.Fingerprint // of number Base, if it is new and that is known
	Next       wire.Seq         // numbers below it are announced
	Boundaries wire.History     // of a new stream all, else those from the one that covers Base on
}

// Resume decides on a resume frame that has been checked, of the live session.
// The error says why the stream is not what the store has; it is a conflict:
// another W or other boundaries than the agent was told of, or a new stream that
// goes on from a number which the store does not have. It is [ErrMoved] if the
// store has more of the stream by now than the agent was told.
func (a *Agent) Resume(r *wire.Resume, lookup Lookup) (Resumed, error) {
	e := Resumed{Session: a.live.Number, Lane: r.Lane, Epoch: r.Epoch, Base: r.Base, Next: r.Next}
	inc := r.Boundaries.At(r.Base)
	s := a.Stream(r.Lane, r.Epoch)
	switch {
	case s != nil && s.W > r.Base:
		return e, fmt.Errorf("lane %s, epoch %s: resumes after %d, the store has it up to %d: %w", r.Lane, r.Epoch, r.Base, s.W, ErrMoved)
	case s != nil && s.W < r.Base:
		return e, fmt.Errorf("lane %s, epoch %s: resumes after %d, the store has it up to %d", r.Lane, r.Epoch, r.Base, s.W)
	case r.Base > 0 && inc.IsZero():
		return e, fmt.Errorf("lane %s, epoch %s: resumes after %d, its boundaries do not reach down to that", r.Lane, r.Epoch, r.Base)
	case s != nil && r.Base > 0 && inc != s.History.At(r.Base):
		return e, fmt.Errorf("lane %s, epoch %s: number %d is of incarnation %s, the store has it of %s", r.Lane, r.Epoch, r.Base, inc, s.History.At(r.Base))
	case s == nil && r.Base > 0 && !a.holds(line{r.Lane, inc}, r.Base):
		return e, fmt.Errorf("lane %s, epoch %s: is new and begins after %d of incarnation %s, which the store does not have", r.Lane, r.Epoch, r.Base, inc)
	}
	if n := len(a.open) + len(above(r.Boundaries, r.Base)); n > maxOpen {
		return e, fmt.Errorf("lane %s, epoch %s: with it %d incarnations of the agent would be announced and not settled, the limit is %d: %w", r.Lane, r.Epoch, n, maxOpen, ErrLimit)
	}
	told := wire.StreamState{Lane: r.Lane, Epoch: r.Epoch, Next: r.Next, Boundaries: r.Boundaries}
	if o, c := a.locate(&told); c > r.Base {
		return e, fmt.Errorf("lane %s, epoch %s: resumes after %d, the store has it up to %d under epoch %s: %w", r.Lane, r.Epoch, r.Base, c, o.Epoch, ErrMoved)
	}
	e.Created = s == nil
	e.Boundaries = r.Boundaries
	if e.Created && r.Base > 0 {
		e.FPBase = a.baseFingerprint(line{r.Lane, inc}, r.Base, lookup)
	}
	if !e.Created {
		e.Boundaries = from(r.Boundaries, r.Base)
	}
	e.Boundaries = slices.Clone(e.Boundaries)
	return e, nil
}

// baseFingerprint finds the fingerprint of the number that a new stream goes on
// from, while its record is still there.
func (a *Agent) baseFingerprint(l line, n wire.Seq, lookup Lookup) wire.Fingerprint {
	for _, s := range a.streams {
		if s.has(l.lane, l.inc, n) {
			return a.fingerprint(s, n, lookup)
		}
	}
	return 0
}

// from returns h from the boundary that covers n on.
func from(h wire.History, n wire.Seq) wire.History {
	i := len(h)
	for i > 0 && h[i-1].First > n {
		i--
	}
	return h[max(0, i-1):]
}

// above returns the boundaries of h that begin above n.
func above(h wire.History, n wire.Seq) wire.History {
	i := len(h)
	for i > 0 && h[i-1].First > n {
		i--
	}
	return h[i:]
}

// ApplyResume opens the stream for e's session and notes what e announces. A
// stream that is not there is made from what e tells: a store that rebuilds
// itself from a damaged file may have lost the event that created it.
func (a *Agent) ApplyResume(e Resumed) {
	i := a.index(e.Lane, e.Epoch)
	created := i < 0
	if created {
		i = len(a.streams)
		a.streams = append(a.streams, a.create(e))
	}
	s := a.edit(i)
	s.moved = false
	s.Ahead = slices.Clone(above(e.Boundaries, s.W))
	s.Next = max(e.Next, s.W+1)
	if created {
		a.forked(s)
	}
	if s.Opened != e.Session {
		s.Opened = e.Session
		if a.resumed++; a.resumed >= a.told {
			a.complete = e.Session
		}
		if a.resumed == a.told {
			a.begunAnew()
		}
	}
	for _, r := range s.ahead() {
		a.note(line{r.Lane, r.Incarnation}, max(1, a.start(s, r.From)), r.To)
	}
}

func (a *Agent) create(e Resumed) *Stream {
	s := &Stream{Lane: e.Lane, Epoch: e.Epoch, Base: e.Base, W: e.Base, Next: e.Base + 1, Born: e.Session,
		History: e.Boundaries.Upto(e.Base), fpW: e.FPBase, fpBase: e.FPBase, gen: a.gen}
	for i := 1; i < len(s.History); i++ {
		s.ends = append(s.ends, a.remembered(e.Lane, s.History[i-1].Incarnation, s.History[i].First-1))
	}
	return s
}

// start returns where the incarnation of an announced number n begins.
func (a *Agent) start(s *Stream, n wire.Seq) wire.Seq {
	if s.Ahead.At(n).IsZero() {
		return s.History.Start(s.W)
	}
	return s.Ahead.Start(n)
}

// note records that numbers of an incarnation exist, unless they are settled.
func (a *Agent) note(l line, first, last wire.Seq) {
	if l.inc.IsZero() || a.holds(l, last) {
		return
	}
	o, ok := a.open[l]
	if ok && o.first <= first && o.last >= last {
		return
	}
	if ok {
		first, last = min(first, o.first), max(last, o.last)
	}
	a.editOpen()[l] = span{first, last}
}

// Announced is the event of numbers that exist at the agent.
type Announced struct {
	Lane  wire.Lane
	Epoch wire.Epoch
	Next  wire.Seq // all numbers below it exist
}

// Announce reports whether e tells anything new of a stream that the live
// session has resumed.
func (a *Agent) Announce(e Announced) bool {
	s := a.Stream(e.Lane, e.Epoch)
	return s != nil && e.Next > s.Next
}

// ApplyAnnounce notes what e announces; of an unknown stream nothing.
func (a *Agent) ApplyAnnounce(e Announced) {
	if !a.Announce(e) {
		return
	}
	s := a.edit(a.index(e.Lane, e.Epoch))
	s.Next = e.Next
	n := e.Next - 1
	inc := s.Ahead.At(n)
	if inc.IsZero() {
		inc = s.History.At(s.W)
	}
	a.note(line{e.Lane, inc}, a.start(s, n), n)
}
