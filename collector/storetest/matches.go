package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldpost/fieldpost/wire"
)

func testMatch(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	if got := s.hello(m); got != (wire.Match{}) {
		t.Errorf("an unknown stream is matched: %+v", got)
	}
	s.connect(m)
	s.append(m, m.entry(1, 4), m.entry(5, 8))
	m.acked = 4
	want := wire.Match{Found: true, Epoch: m.epoch, W: 8, Common: 8, FPCommon: m.fingerprint(8), FPAcked: m.fingerprint(4)}
	check := func(what string, m *machine, want wire.Match) {
		t.Helper()
		if diff := cmp.Diff(want, s.hello(m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("the same folder", m, want)
	m.start()
	m.put(2)
	check("the folder after a restart", m, want)
	s.connect(m)
	s.append(m, m.entry(9, 10), m.entry(11, 12))
	// A clone from before the restart: common up to where its own line ends.
	clone := m.copy().cut(9)
	clone.start()
	clone.put(1)
	check("a clone with one number of its own", clone, wire.Match{Found: true, Epoch: m.epoch, W: 12, Common: 9, FPCommon: m.fingerprint(9), FPAcked: m.fingerprint(4)})
	// Another epoch's history is found as well.
	moved := m.copy()
	moved.epoch = wire.Epoch{ID: wire.NewID()}
	check("another epoch, the same history", moved, wire.Match{Found: true, Epoch: m.epoch, W: 12, Common: 12, FPCommon: m.fingerprint(12), FPAcked: m.fingerprint(4)})
	// Another lane's is not, and nothing in common counts only for its own epoch.
	lane := m.copy()
	lane.lane = "alarms"
	check("another lane", lane, wire.Match{})
	fresh := newMachine("pump-7", 3)
	check("a new folder", fresh, wire.Match{})
	fresh.epoch = m.epoch
	check("nothing in common but the epoch", fresh, wire.Match{Found: true, Epoch: m.epoch, W: 12})
	fresh.id = "pump-8"
	check("another agent", fresh, wire.Match{})
}

func testFork(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	s.connect(m)
	s.append(m, m.entry(1, 10))
	first := m.epoch
	// Restored to 6 messages, opened, two new messages: a fork after 6.
	m.cut(6)
	m.start()
	m.put(2)
	if w := s.connect(m); w != 6 || m.epoch == first {
		t.Fatalf("W is %d in epoch %s, want 6 in a new one", w, m.epoch)
	}
	if w := s.append(m, m.entry(7, 8)); w != 8 {
		t.Errorf("W is %d, want 8", w)
	}
	want := wire.Match{Found: true, Epoch: m.epoch, W: 8, Common: 8, FPCommon: m.fingerprint(8)}
	if diff := cmp.Diff(want, s.hello(m)); diff != "" {
		t.Errorf("the fork (-want +got):\n%s", diff)
	}
	// A number that the fork inherited has its fingerprint too.
	m.acked = 5
	want.FPAcked = m.fingerprint(5)
	if diff := cmp.Diff(want, s.hello(m)); diff != "" {
		t.Errorf("an inherited number (-want +got):\n%s", diff)
	}
	// A live snapshot that comes back opens nothing: the store is beyond it.
	m.cut(7)
	if got := s.hello(m); !got.Beyond || got.Common != 7 || got.W != 8 {
		t.Errorf("a memory that went back is answered with %+v", got)
	}
}

func testFingerprints(t *testing.T, s *subject) {
	m := newMachine("pump-7", 60)
	s.connect(m)
	for n := wire.Seq(1); n <= 60; n += 5 {
		if n == 21 {
			s.append(m, m.tombstone(n, n+4, wire.ReasonExpired))
			continue
		}
		s.append(m, m.entry(n, n+4))
	}
	s.restart()
	for n := wire.Seq(1); n <= 60; n++ {
		m.acked = n
		want := m.fingerprint(n)
		if n >= 21 && n < 25 {
			want = 0 // of a tombstone only the last one is known
		}
		if got := s.hello(m); got.FPAcked != want {
			t.Errorf("number %d has fingerprint %s, want %s", n, got.FPAcked, want)
		}
	}
}
