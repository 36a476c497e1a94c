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
// lines have parted, behind the common point in a new stream (rule 2). A session
// that has resumed a stream whose W is moved so has to say hello again, see Moved.
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
	case c < best.W:
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

// imported notes that an import has moved a lane's W, of whichever stream.
func (a *Agent) imported(lane wire.Lane) {
	for i, s := range a.streams {
		if s.Lane == lane && !s.moved {
			a.edit(i).moved = true
		}
	}
}

// Moved reports whether an import has brought something of a stream's lane since
// the live session resumed it. It may be what the session is about to send; and an
// answer of W could speak for numbers that nobody has compared with the session's
// (rule 2). So the session is to say hello again.
func (a *Agent) Moved(lane wire.Lane, epoch wire.Epoch) bool {
	s := a.Stream(lane, epoch)
	return s != nil && s.moved
}
