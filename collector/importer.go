package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/internal/carry"
	"github.com/fieldpost/fieldpost/wire"
)

// Groups of entries that are handed to the store in one transaction.
const (
	importGroup = 256
	importBytes = 4 << 20
)

// importer is one import.
type importer struct {
	ctx     context.Context
	store   Store
	id      Identity
	o       ImportOptions
	agent   wire.AgentID
	streams []*imported
}

// imported is one stream of it.
type imported struct {
	carry.Stream
	state  wire.StreamState
	common wire.Seq // the store has all up to it, at least
	match  wire.Match
	report ImportedStream
	ended  bool // nothing more of it is taken
	reject *carry.Rejected

	entries []wire.Entry // consecutive, with batches of their own
	bytes   int
	before  wire.Fingerprint // of the number before the first
	last    wire.Seq         // the last number that was read
	lastFP  wire.Fingerprint
}

// plan finds out where each stream goes on, and refuses the file if one cannot.
func (im *importer) plan(m *carry.Manifest) error {
	var errs []error
	for i := range m.Streams {
		s := &imported{Stream: m.Streams[i], state: m.Streams[i].State()}
		s.last, s.lastFP = s.Start-1, s.Before
		s.report = ImportedStream{Lane: s.Lane, Epoch: s.Epoch, Last: s.Next - 1}
		im.streams = append(im.streams, s)
		if err := im.look(s); err != nil {
			return err
		}
		err := im.obeys(s)
		if err == nil {
			_, err = im.declarations(s, s.common, s.Start-1)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// look asks the store how far it has a stream.
func (im *importer) look(s *imported) error {
	got, err := im.store.Import(im.ctx, Import{Agent: im.agent, Stream: s.state, Time: time.Now()})
	if err == nil {
		s.took(&got)
	}
	return err
}

// took notes what the store has of the stream by now.
func (s *imported) took(got *Imported) {
	s.match, s.common = got.Match, got.Match.Common
	s.report.W = s.common
}

// obeys is rule 4.
func (im *importer) obeys(s *imported) error {
	w := wire.Welcome{Store: im.id.ID, Replaces: im.id.Replaces, ReplacesAny: im.id.ReplacesAny}
	if s.Store.IsZero() || w.Replaced(s.Store) {
		return nil
	}
	return fmt.Errorf("lane %s of agent %s: %w: it belongs to store %s, this is %s; import it there, or let this store take that one's place (collector run --replaces %s)",
		s.Lane, im.agent, ErrOtherStore, s.Store, im.id.ID, s.Store)
}

// declarations returns what the store is to record for the numbers behind after up
// to to, which the file does not hold: another store has them, or they are lost.
func (im *importer) declarations(s *imported, after, to wire.Seq) (list []wire.Entry, err error) {
	for n := after + 1; n <= to; {
		e := wire.Entry{From: n, To: s.Boundaries.End(n, to), Incarnation: s.Boundaries.At(n), Time: time.Now()}
		if e.Incarnation.IsZero() { // older than any boundary that is left
			e.Incarnation, e.To = s.Boundaries[0].Incarnation, min(to, s.Boundaries[0].First-1)
		}
		by, upto := s.takenBy(n)
		if !by.IsZero() {
			e.To = min(e.To, upto)
		}
		switch {
		case !by.IsZero() && by != im.id.ID:
			e.Reason, e.Detail = wire.ReasonStoredIn, by.String()
		case n < s.Oldest && im.o.DeclareLost:
			e.Reason, e.To = wire.ReasonLostAtStore, min(e.To, s.Oldest-1)
		default:
			return nil, im.gap(s, n, to)
		}
		if e.Doubled = n <= s.Doubt; e.Doubled {
			e.To = min(e.To, s.Doubt)
		}
		if e.To == s.Start-1 {
			e.Fingerprint = s.Before
		}
		list = append(list, e)
		n = e.To + 1
	}
	return list, nil
}

// gap is the error for numbers that the store lacks and the file does not hold.
func (im *importer) gap(s *imported, from, to wire.Seq) error {
	next := "import the earlier carry files first, or export again with --all"
	if by, _ := s.takenBy(from); from < s.Oldest {
		next = "import the earlier carry files first; if there are none, the numbers are lost, and --declare-lost goes on behind them"
	} else if by == im.id.ID {
		next = "this store had acked them, and was set back since: import the earlier carry files again, or export again with --all"
	}
	return fmt.Errorf("lane %s of agent %s: %w: the store has the stream up to %d, and numbers %d to %d are not in the file; %s", s.Lane, im.agent, ErrGap, s.common, from, to, next)
}

// takenBy returns the store that had acked number n at the export, zero if none
// had, and the last number of which that is true.
func (s *imported) takenBy(n wire.Seq) (wire.StoreID, wire.Seq) {
	for _, a := range s.Acked {
		if n <= a.Upto {
			return a.Store, a.Upto
		}
	}
	return wire.StoreID{}, 0
}

// run takes the entries.
func (im *importer) run(f *carry.Reader) error {
	at := 0
	for {
		i, e, err := f.Next()
		if err == io.EOF {
			i = len(im.streams)
		} else if err != nil {
			return errors.Join(carryError(err), im.flush(im.streams[at]))
		}
		for ; at < i; at++ { // also those of which the file has no entry
			if err := im.finish(im.streams[at]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err := im.add(im.streams[i], &e); err != nil {
			return err
		}
	}
}

// add takes an entry.
func (im *importer) add(s *imported, e *wire.Entry) error {
	before, gap := s.lastFP, e.From != s.last+1
	if gap {
		before = 0
	}
	s.last, s.lastFP = e.To, fingerprint(e)
	switch {
	case s.ended || im.behind(s):
		return nil
	case im.o.DryRun:
		return im.pretend(s, e)
	case e.To < s.common:
		s.report.Known += uint64(e.To - e.From + 1)
		return nil
	}
	if gap || len(s.entries) == importGroup || s.bytes >= importBytes {
		if err := im.flush(s); err != nil || s.ended {
			return err
		}
	}
	if len(s.entries) == 0 {
		if err := im.declare(s, e.From-1); err != nil || s.ended {
			return err
		}
		s.before = before
	}
	c := *e
	c.Batch = slices.Clone(e.Batch)
	s.entries, s.bytes = append(s.entries, c), s.bytes+len(c.Batch)
	return nil
}

// fingerprint returns the fingerprint of an entry's last number, 0 if it does not
// tell.
func fingerprint(e *wire.Entry) wire.Fingerprint {
	if e.IsTombstone() {
		return e.Fingerprint
	}
	b, err := wire.ParseBatch(e.Batch)
	if err != nil {
		return 0
	}
	return b.Fingerprint(e.To)
}

// behind reports whether a stream has to wait for one before it in its lane that
// was not taken to its end: the streams of a lane follow one another.
func (im *importer) behind(s *imported) bool {
	for _, o := range im.streams {
		if o == s {
			return false
		}
		if o.Lane == s.Lane && o.ended {
			s.ended, s.report.Held = true, true
			return true
		}
	}
	return false
}

// pretend counts what an entry would do.
func (im *importer) pretend(s *imported, e *wire.Entry) error {
	if c := s.match.Common; e.From <= c && c <= e.To || c+1 == s.Start && e.From == s.Start {
		own := s.Before
		if c >= e.From {
			part := *e
			if part.To = c; !e.IsTombstone() || c == e.To {
				own = fingerprint(&part)
			} else {
				own = 0
			}
		}
		if own != 0 && s.match.FPCommon != 0 && own != s.match.FPCommon {
			return memoryError(fmt.Errorf("lane %s: %w: number %d is another message at the store", s.Lane, ErrMemory, c))
		}
	}
	if e.From > s.common+1 {
		if err := im.declare(s, e.From-1); err != nil {
			return err
		}
	}
	n := uint64(e.To - e.From + 1)
	fresh := uint64(0)
	if e.To > s.common {
		fresh = uint64(e.To - max(e.From, s.common+1) + 1)
		s.report.Forked = s.match.Found && s.match.Common < s.match.W
		s.common, s.report.W = e.To, e.To
	}
	s.report.Known += n - fresh
	if e.IsTombstone() {
		s.report.Tombstoned += fresh
	} else {
		s.report.Stored += fresh
	}
	return nil
}

// memoryError says what to do about rule 2's signs.
func memoryError(err error) error {
	return fmt.Errorf("%w; only a link can tell these messages apart: connect the agent, then what is new is delivered", err)
}

// declare has the store record what it lacks up to a number.
func (im *importer) declare(s *imported, to wire.Seq) error {
	list, err := im.declarations(s, s.common, to)
	if err != nil || len(list) == 0 {
		return err
	}
	if im.o.DryRun {
		s.report.Tombstoned += uint64(to - s.common)
		s.common, s.report.W = to, to
		return nil
	}
	for len(list) > 0 {
		n := min(len(list), importGroup)
		if err := im.hand(s, list[:n], 0); err != nil || s.ended {
			return err
		}
		list = list[n:]
	}
	return nil
}

// flush hands what was gathered to the store.
func (im *importer) flush(s *imported) error {
	if len(s.entries) == 0 {
		return nil
	}
	from, to := s.entries[0].From, s.entries[len(s.entries)-1].To
	before := s.report.Stored + s.report.Tombstoned
	err := im.hand(s, s.entries, s.before)
	if taken := min(to, s.common); err == nil && taken >= from {
		s.report.Known += uint64(taken-from+1) - (s.report.Stored + s.report.Tombstoned - before)
	}
	s.entries, s.bytes = s.entries[:0], 0
	return err
}

// hand is one transaction.
func (im *importer) hand(s *imported, list []wire.Entry, before wire.Fingerprint) error {
	got, err := im.store.Import(im.ctx, Import{Agent: im.agent, Stream: s.state, Before: before, Entries: list, Time: time.Now()})
	if err != nil {
		if errors.Is(err, ErrMemory) {
			err = memoryError(err)
		}
		return err
	}
	s.took(&got)
	s.report.Stored += got.Stored
	s.report.Tombstoned += got.Tombstoned
	s.report.Forked = s.report.Forked || got.Forked
	if n := got.Rejected; n > 0 {
		s.ended, s.report.Rejected, s.report.Why = true, n, plain(got.Why, wire.MaxReason)
		s.reject = &carry.Rejected{Number: n, Incarnation: s.Boundaries.At(n), Why: s.report.Why}
		for i := range list {
			if e := &list[i]; e.From <= n && n <= e.To && !e.IsTombstone() {
				if b, err := wire.ParseBatch(e.Batch); err == nil {
					s.reject.Fingerprint = b.Fingerprint(n)
				}
			}
		}
	}
	return nil
}

// finish ends a stream.
func (im *importer) finish(s *imported) error {
	if err := im.flush(s); err != nil || s.ended || im.behind(s) {
		return err
	}
	return im.declare(s, s.Next-1) // what was acked while the file was written, and is not in it
}
