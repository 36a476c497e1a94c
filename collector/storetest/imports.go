package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// carried is what a carry file has of a machine: exported at this moment.
func (m *machine) carried(entries ...wire.Entry) collector.Import {
	im := collector.Import{Agent: m.id, Stream: m.state(), Entries: entries, Time: now}
	im.Stream.Boundaries = slices.Clone(m.history)
	if len(entries) > 0 && entries[0].From > 1 {
		im.Before = m.fingerprint(entries[0].From - 1)
	}
	return im
}

// bring imports and returns the common point afterwards.
func (s *subject) bring(im collector.Import) collector.Imported {
	s.Helper()
	got, err := s.Import(context.Background(), im)
	if err != nil {
		s.Fatalf("import: %v", err)
	}
	return got
}

// stored returns what the store has, as agent and body, in its order. Bodies that
// stand twice are an error.
func (s *subject) bodies() (list []string) {
	s.Helper()
	seen := map[string]bool{}
	for _, r := range s.all() {
		if r.Entry.IsTombstone() {
			continue
		}
		b, err := wire.ParseBatch(r.Entry.Batch)
		if err != nil {
			s.Fatal(err)
		}
		for rec, err := range b.Records() {
			if err != nil {
				s.Fatal(err)
			}
			if rec.Seq < r.Entry.From || rec.Seq > r.Entry.To {
				continue
			}
			msg, err := rec.Record.Message()
			if err != nil {
				s.Fatal(err)
			}
			text := string(msg.Body)
			if seen[text] {
				s.Errorf("%q is stored twice", text)
			}
			seen[text] = true
			list = append(list, text)
		}
	}
	return list
}

func (s *subject) want(what string, want ...[]string) {
	s.Helper()
	if got := s.bodies(); !slices.Equal(got, slices.Concat(want...)) {
		s.Errorf("%s: stored %q, want %q", what, got, slices.Concat(want...))
	}
}

func testImport(t *testing.T, s *subject) {
	m := newMachine("pump-7", 20)
	if got := s.bring(m.carried()); got != (collector.Imported{}) || len(s.all()) != 0 {
		t.Errorf("a look changes something: %+v", got)
	}
	got := s.bring(m.carried(m.entry(1, 4), m.tombstone(5, 6, wire.ReasonExpired), m.part(7, 9, 6, 12)))
	want := collector.Imported{Match: wire.Match{Found: true, Epoch: m.epoch, W: 9, Common: 9, FPCommon: m.fingerprint(9)}, Stored: 7, Tombstoned: 2}
	if got != want {
		t.Errorf("the first import: %+v, want %+v", got, want)
	}
	s.restart()
	// Again, overlapping, straddling.
	if got := s.bring(m.carried(m.entry(1, 4), m.tombstone(5, 6, wire.ReasonExpired), m.part(7, 9, 6, 12))); got.Stored+got.Tombstoned != 0 || got.Match != want.Match {
		t.Errorf("the same again: %+v", got)
	}
	if got := s.bring(m.carried(m.entry(3, 8), m.entry(9, 12))); got.Stored != 3 || got.Match.W != 12 {
		t.Errorf("an overlapping one: %+v", got)
	}
	before := len(s.all())
	for what, im := range map[string]collector.Import{
		"a gap": m.carried(m.entry(14, 15)), "a gap between entries": m.carried(m.entry(13, 13), m.entry(15, 15)), "another stream's middle": newMachine("pump-9", 9).carried(m.entry(3, 4)),
	} {
		if got, err := s.Import(context.Background(), im); err == nil || got != (collector.Imported{}) || len(s.all()) != before {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	if _, err := s.Import(context.Background(), m.carried(m.entry(14, 15))); !errors.Is(err, collector.ErrGap) {
		t.Errorf("a gap: %v, want ErrGap", err)
	}
	// The link takes over where the files have ended, and the other way round.
	if w := s.connect(m); w != 12 {
		t.Errorf("the link goes on behind %d, want 12", w)
	}
	s.append(m, m.entry(13, 16))
	s.bring(m.carried(m.entry(1, 20)))
	s.want("all", slices.Concat(m.bodies[:4], m.bodies[6:]))
	if known, err := s.Agents(context.Background()); err != nil || len(known) != 1 || known[0].Backlog != 0 {
		t.Errorf("agents %+v, %v", known, err)
	}
}

// A link delivers the same numbers, in both orders. It is not fenced: it learns that
// W has moved, says hello again, and goes on from there.
func testImportBesideALink(t *testing.T, s *subject) {
	m := newMachine("pump-7", 30)
	s.connect(m)
	s.append(m, m.entry(1, 5))
	s.bring(m.carried(m.entry(1, 5))) // nothing new
	s.append(m, m.entry(6, 8))
	s.bring(m.carried(m.entry(3, 12)))
	if _, err := s.try(m, m.entry(9, 10)); !errors.Is(err, collector.ErrMoved) {
		t.Errorf("an entry behind an import: %v, want ErrMoved", err)
	}
	if err := s.Announce(context.Background(), m.session, []collector.Announcement{{Stream: m.stream(), Next: 31}}); err != nil {
		t.Errorf("the session is fenced: %v", err)
	}
	if w := s.connect(m); w != 12 {
		t.Errorf("the link goes on behind %d, want 12", w)
	}
	s.append(m, m.entry(11, 14))
	m.put(3)
	s.bring(m.carried(m.entry(13, 20), m.entry(21, 32)))
	s.restart()
	if w := s.connect(m); w != 32 {
		t.Errorf("the link goes on behind %d, want 32", w)
	}
	s.append(m, m.entry(31, 33))
	s.want("all", m.bodies)
}

// A file of the older state of a folder that was put back since, while the new one
// is on the link: each line keeps its own.
func testImportOfAnotherLine(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	s.connect(m)
	s.append(m, m.entry(1, 6))
	old := m.copy()
	old.put(2)
	file := old.carried(old.entry(1, 12))
	m.cut(8).start()
	m.put(2)
	if w := s.connect(m); w != 6 {
		t.Fatalf("W %d", w)
	}
	s.append(m, m.entry(7, 7))
	if got := s.bring(file); got.Match.Common != 12 || got.Stored != 5 {
		t.Errorf("the other line: %+v", got)
	}
	if _, err := s.try(m, m.entry(8, 8), m.entry(9, 10)); !errors.Is(err, collector.ErrMoved) {
		t.Errorf("the link goes on with %v, want ErrMoved", err)
	}
	if w := s.connect(m); w != 8 || m.epoch == old.epoch {
		t.Errorf("the next hello goes on behind %d in epoch %s, want 8 in a new one", w, m.epoch)
	}
	s.append(m, m.entry(9, 10))
	s.want("both lines", old.bodies, m.bodies[8:])
	s.restart()
	// And the other way round: the store has a part of the new line.
	if got := s.bring(file); got.Stored != 0 || got.Match.Common != 12 {
		t.Errorf("the file again: %+v", got)
	}
	old.put(2)
	m.start()
	m.put(2)
	if got := s.bring(m.carried(m.entry(9, 12))); got.Stored != 2 || got.Forked {
		t.Errorf("a file of the new line: %+v", got)
	}
	third := old.copy().cut(11)
	third.start()
	third.put(3)
	if got := s.bring(third.carried(third.entry(10, 11), third.entry(12, 14))); got.Stored != 3 || !got.Forked || got.Match.Epoch == old.epoch || got.Match.Epoch == m.epoch {
		t.Errorf("a file of a third line: %+v", got)
	}
	s.want("three lines", old.bodies[:12], m.bodies[8:], third.bodies[11:])
}

// An import between the welcome and the resume, or before the first data.
func testImportBehindTheWelcome(t *testing.T, s *subject) {
	for i, c := range []struct {
		what string
		old  bool // the store has a part of another line
	}{{"a stream that is new", false}, {"a fork", true}} {
		m := newMachine(wire.AgentID(fmt.Sprint("pump-", i)), 10)
		if c.old {
			s.connect(m)
			s.append(m, m.entry(1, 9))
			m.cut(5).start()
			m.put(4)
		}
		match := s.hello(m)
		s.bring(m.carried(m.entry(1, 5), m.entry(6, m.next()-1)))
		if match.Found && match.Common != match.W {
			m.epoch = wire.Epoch{ID: wire.NewID()}
		}
		if _, err := s.Resume(context.Background(), m.session, m.resume(match.Common)); !errors.Is(err, collector.ErrMoved) {
			t.Errorf("%s: resumed with %v, want ErrMoved", c.what, err)
		}
		if w := s.connect(m); w != m.next()-1 {
			t.Errorf("%s: the next hello goes on behind %d", c.what, w)
		}
	}
	s.bodies()
}

// A session has begun a fork and sent nothing of it yet: nothing in the store tells
// whose it is, and the file's numbers go elsewhere.
func testImportBesideAnEmptyFork(t *testing.T, s *subject) {
	m := newMachine("pump-7", 5)
	s.connect(m)
	s.append(m, m.entry(1, 3))
	other := newMachine("pump-7", 4) // another folder under the same epoch
	other.epoch = m.epoch
	file := other.carried(other.entry(1, 2))
	s.connect(other)
	if got := s.bring(file); got.Stored != 2 {
		t.Errorf("import: %+v", got)
	}
	if _, err := s.try(other, other.entry(1, 4)); !errors.Is(err, collector.ErrMoved) {
		t.Errorf("the session goes on with %v, want ErrMoved", err)
	}
	if w := s.connect(other); w != 2 {
		t.Errorf("the next hello goes on behind %d, want 2", w)
	}
	s.append(other, other.entry(1, 4))
	s.bodies()
}

// Rule 2: equal incarnations and other messages are not taken for duplicates.
func testImportMemory(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	back := m.copy().cut(6)
	for range 4 {
		back.bodies = append(back.bodies, fmt.Sprint("another ", back.next()))
	}
	s.connect(m)
	s.append(m, m.entry(1, 10))
	// Twins of one memory, one on the link and one on a stick: the next hello compares.
	twin := m.copy()
	m.put(1)
	twin.bodies = append(twin.bodies, "the twin's")
	s.bring(twin.carried(twin.entry(11, 11)))
	if _, err := s.try(m, m.entry(11, 11)); !errors.Is(err, collector.ErrMoved) {
		t.Errorf("the twin on the link: %v, want ErrMoved", err)
	}
	if got := s.hello(m); got.Common != 11 || got.FPCommon != twin.fingerprint(11) || got.FPCommon == m.fingerprint(11) {
		t.Errorf("its hello is answered with %+v", got)
	}
	if _, err := s.Import(context.Background(), back.carried(back.entry(5, 10))); !errors.Is(err, collector.ErrMemory) {
		t.Errorf("%v, want ErrMemory", err)
	}
	back.put(2)
	if _, err := s.Import(context.Background(), back.carried(back.entry(5, 12))); !errors.Is(err, collector.ErrMemory) {
		t.Errorf("a longer one: %v, want ErrMemory", err)
	}
	im := back.carried(back.entry(11, 12))
	if _, err := s.Import(context.Background(), im); !errors.Is(err, collector.ErrMemory) {
		t.Errorf("one that begins behind it: %v, want ErrMemory", err)
	}
	s.want("all", twin.bodies)
}
