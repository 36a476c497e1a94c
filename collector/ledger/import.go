package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

var (
	// ErrMoved: an import has brought more of a lane than the agent was told of in
	// its welcome. A new hello tells it.
	ErrMoved = errors.New("an import has come between")
	// ErrGap: what is to be imported does not follow what the store has.
	ErrGap = errors.New("a gap")
	// ErrMemory: equal incarnations, other messages: the memory of the machine that
	// wrote them was set back (rule 2), and only its link can sort that out.
	ErrMemory = errors.New("other messages under equal incarnations")
)

// Import is consecutive entries of one stream, which a store decides on and applies
// one after the other.
type Import struct {
	Told    wire.StreamState
	Before  wire.Fingerprint // of the number before the first entry; 0: not known
	Entries []wire.Entry
	Alone   bool // no link of the agent is open: its live session has ended
}

// Check verifies that the entries are consecutive.
func (im *Import) Check() error {
	for i := 1; i < len(im.Entries); i++ {
		if e := &im.Entries[i]; e.From != im.Entries[i-1].To+1 {
			return fmt.Errorf("lane %s: the entry from %d on does not follow %d", im.Told.Lane, e.From, im.Entries[i-1].To)
		}
	}
	return nil
}

// fingerprint returns the fingerprint of a number as the export has it, 0 if that
// does not tell.
func (im *Import) fingerprint(n wire.Seq) wire.Fingerprint {
	if len(im.Entries) > 0 && n+1 == im.Entries[0].From {
		return im.Before
	}
	for i := range im.Entries {
		if e := &im.Entries[i]; e.From <= n && n <= e.To {
			return Fingerprint(e, n)
		}
	}
	return 0
}

// Placement says what becomes of an entry that no link has brought.
type Placement struct {
	Created *Resumed   // the stream that is to be made for it first, nil: it is there
	Epoch   wire.Epoch // the stream it goes to
	From    wire.Seq   // the first number that counts; 0: the store has all of it
}

// Import decides on an entry that was carried here by hand, of a stream as told at
// its export. No session is asked: where the entry goes follows from the histories
// alone. It goes on in the stream whose W is the common point (rule 1); where the
// lines have parted, or where the live session goes on with other numbers than
// these, behind the common point in a new stream (rule 2), so that no answer to
// the session ever speaks for numbers that are not the agent's.
//
// fresh makes an epoch. The errors are [ErrGap] and [ErrMemory].
func (a *Agent) Import(im *Import, e *wire.Entry, lookup Lookup, fresh func() wire.Epoch) (Placement, error) {
	told := &im.Told
	best, c := a.locate(told)
	if e.From > c+1 {
		return Placement{}, fmt.Errorf("lane %s: the store has the stream up to %d, this goes on with %d: %w", told.Lane, c, e.From, ErrGap)
	}
	if c > 0 && e.To >= c {
		if ours, theirs := a.fingerprint(best, c, lookup), im.fingerprint(c); ours != 0 && theirs != 0 && ours != theirs {
			return Placement{}, fmt.Errorf("lane %s: number %d has fingerprint %s there and %s at the store: %w", told.Lane, c, theirs, ours, ErrMemory)
		}
	}
	switch {
	case e.To <= c:
		return Placement{}, nil
	case best == nil:
		return Placement{Created: a.branch(told, told.Epoch, nil, 0, lookup), Epoch: told.Epoch, From: 1}, nil
	case c < best.W || !im.Alone && !a.agrees(best, e):
		epoch := fresh()
		return Placement{Created: a.branch(told, epoch, best, c, lookup), Epoch: epoch, From: c + 1}, nil
	}
	return Placement{Epoch: best.Epoch, From: c + 1}, nil
}

// branch returns the event of a stream that goes on behind number c of another.
// It is of no session.
func (a *Agent) branch(told *wire.StreamState, epoch wire.Epoch, s *Stream, c wire.Seq, lookup Lookup) *Resumed {
	h := told.Boundaries.Upto(c)
	e := &Resumed{Lane: told.Lane, Epoch: epoch, Created: true, Base: c, Next: c + 1, Boundaries: slices.Clone(h[max(0, len(h)-wire.MaxHelloBounds):])}
	if s != nil && c > 0 {
		e.FPBase = a.fingerprint(s, c, lookup)
	}
	return e
}

// agrees reports whether the numbers of e above s.W are what the live session has
// there, or will have, as far as it is concerned: it has resumed s and has not
// ended. What it tells of its history says so, for within a session an agent
// begins no other incarnation. A history that is too long for one hello is told in
// part: of that only what is announced is certain.
func (a *Agent) agrees(s *Stream, e *wire.Entry) bool {
	if s.Opened == 0 || s.Opened != a.live.Number || a.parting != nil {
		return true
	}
	if e.To >= s.Next && len(s.History)+len(s.Ahead) >= wire.MaxHelloBounds/2 {
		return false
	}
	inc := s.Ahead.At(s.W + 1)
	if inc.IsZero() {
		inc = s.History.At(s.W)
	}
	return inc == e.Incarnation && s.Ahead.End(s.W+1, e.To) == e.To
}

// Elsewhere reports whether another stream of the lane has what e would bring: an
// import has brought it there, and the session is to say hello again.
func (a *Agent) Elsewhere(lane wire.Lane, epoch wire.Epoch, e *wire.Entry) bool {
	s := a.Stream(lane, epoch)
	return s != nil && e.To > s.W && a.holds(line{lane, e.Incarnation}, max(e.From, s.W+1))
}
