package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

func testAppendTable(t *testing.T, s *subject) {
	m := newMachine("pump-7", 40)
	s.connect(m)
	for _, c := range []struct {
		what  string
		entry wire.Entry
		w     wire.Seq
		from  wire.Seq // of what is stored, 0: nothing
	}{
		{"a gap at the beginning", m.entry(2, 4), 0, 0},
		{"the first batch", m.entry(1, 4), 4, 1},
		{"a duplicate", m.entry(1, 4), 4, 0},
		{"a part of a duplicate", m.entry(2, 3), 4, 0},
		{"a gap", m.entry(6, 8), 4, 0},
		{"a batch that straddles W", m.entry(3, 6), 6, 5},
		{"a part of a longer batch", m.part(7, 8, 5, 12), 8, 7},
		{"a straddling part of a longer batch", m.part(6, 10, 5, 12), 10, 9},
		{"a tombstone", m.tombstone(11, 13, wire.ReasonOverflow), 13, 11},
		{"a duplicate of a tombstone", m.tombstone(11, 13, wire.ReasonOverflow), 13, 0},
		{"a tombstone that straddles W", m.tombstone(10, 15, wire.ReasonExpired), 15, 14},
		{"a tombstone behind a gap", m.tombstone(20, 21, wire.ReasonExpired), 15, 0},
		{"data after a tombstone", m.entry(16, 16), 16, 16},
	} {
		before := len(s.all())
		if w := s.append(m, c.entry); w != c.w {
			t.Errorf("%s: W is %d, want %d", c.what, w, c.w)
		}
		all := s.all()
		switch {
		case c.from == 0 && len(all) != before:
			t.Errorf("%s: was stored", c.what)
		case c.from != 0 && len(all) != before+1:
			t.Errorf("%s: was not stored", c.what)
		case c.from != 0:
			want := c.entry
			want.From = c.from
			if diff := cmp.Diff(want, all[before].Entry); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.what, diff)
			}
		}
	}
	// One transaction, each entry on what the one before has left.
	answers, err := s.try(m, m.entry(17, 18), m.entry(20, 21), m.entry(18, 19), m.entry(20, 20))
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []wire.Seq{18, 18, 19, 20} {
		if answers[i] != (collector.Answer{W: w}) {
			t.Errorf("answer %d is %+v, want W %d", i, answers[i], w)
		}
	}
	doubled := m.entry(21, 22)
	doubled.Doubled = true
	s.append(m, doubled)
	if all := s.all(); !all[len(all)-1].Entry.Doubled {
		t.Error("the mark \"may be doubled\" is lost")
	}
}

func testVoidTombstone(t *testing.T, s *subject) {
	m := newMachine("pump-7", 5)
	s.connect(m)
	s.append(m, m.entry(1, 3))
	if w := s.append(m, m.tombstone(1, 2, wire.ReasonExpired)); w != 3 {
		t.Errorf("W is %d, want 3", w)
	}
	all := s.all()
	if len(all) != 1 || all[0].Entry.IsTombstone() {
		t.Errorf("a tombstone at or below W changed what is stored: %d entries", len(all))
	}
}
