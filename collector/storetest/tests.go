package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

func testFencing(t *testing.T, s *subject) {
	old := newMachine("pump-7", 6)
	s.connect(old)
	s.append(old, old.entry(1, 2))
	live := old.copy()
	s.connect(live)
	if live.session.Number <= old.session.Number || live.session.Nonce == old.session.Nonce {
		t.Errorf("session %v after %v", live.session.Session, old.session.Session)
	}
	forged := live.copy()
	forged.session.Nonce = wire.NewID()
	for name, m := range map[string]*machine{"the older session": old, "a wrong nonce": forged, "no session": newMachine("pump-8", 3)} {
		m.session.Agent = m.id
		if _, err := s.try(m, m.entry(3, 3)); !errors.Is(err, collector.ErrFenced) {
			t.Errorf("%s: append gives %v, want ErrFenced", name, err)
		}
		if _, err := s.Resume(context.Background(), m.session, m.resume(2)); !errors.Is(err, collector.ErrFenced) {
			t.Errorf("%s: resume gives %v, want ErrFenced", name, err)
		}
		list := []collector.Announcement{{Stream: m.stream(), Next: 99}}
		if err := s.Announce(context.Background(), m.session, list); !errors.Is(err, collector.ErrFenced) {
			t.Errorf("%s: announce gives %v, want ErrFenced", name, err)
		}
		if err := s.Part(context.Background(), m.session, collector.Parting{Time: now, Reason: "fenced"}); err != nil {
			t.Errorf("%s: part gives %v, want nil", name, err)
		}
	}
	if w := s.append(live, live.entry(3, 3)); w != 3 {
		t.Errorf("W is %d, want 3", w)
	}
	if n := len(s.all()); n != 2 {
		t.Errorf("%d entries stored, want 2", n)
	}
	// Another agent's session is not concerned.
	other := newMachine("pump-9", 1)
	s.connect(other)
	if w := s.append(live, live.entry(4, 4)); w != 4 {
		t.Errorf("W is %d, want 4", w)
	}
}

func testSessionNumber(t *testing.T, s *subject) {
	m := newMachine("pump-7", 1)
	m.session.Number = 41 // the store was restored from a backup and has forgotten it
	s.hello(m)
	if m.session.Number <= 41 {
		t.Errorf("session %d, the agent was granted 41 before", m.session.Number)
	}
	m.session.Number = 2
	s.restart()
	if s.hello(m); m.session.Number <= 42 {
		t.Errorf("session %d, the store has granted 42 before", m.session.Number)
	}
}

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

func testAppendUnknown(t *testing.T, s *subject) {
	m := newMachine("pump-7", 5)
	s.connect(m)
	unknown := collector.Stream{Lane: m.lane, Epoch: wire.Epoch{ID: wire.NewID()}}
	_, err := s.Append(context.Background(), m.session, []collector.Append{
		{Stream: m.stream(), Entry: m.entry(1, 2), Time: now},
		{Stream: unknown, Entry: m.entry(1, 2), Time: now},
	})
	if !errors.Is(err, collector.ErrUnknown) {
		t.Errorf("append to a stream that was not resumed gives %v", err)
	}
	if n := len(s.all()); n != 0 {
		t.Errorf("%d entries of a refused transaction were stored", n)
	}
	err = s.Announce(context.Background(), m.session, []collector.Announcement{{Stream: unknown, Next: 3}})
	if !errors.Is(err, collector.ErrUnknown) {
		t.Errorf("announcing a stream that was not resumed gives %v", err)
	}
	// A new session has to resume it again.
	s.append(m, m.entry(1, 2))
	s.hello(m)
	if _, err := s.try(m, m.entry(3, 3)); !errors.Is(err, collector.ErrUnknown) {
		t.Errorf("append before the session's own resume gives %v", err)
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

func testResumeConflicts(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	s.connect(m)
	s.append(m, m.entry(1, 6))
	for what, change := range map[string]func(m *machine, r *wire.Resume){
		"a base below W": func(_ *machine, r *wire.Resume) { r.Base = 5 },
		"a base above W": func(_ *machine, r *wire.Resume) { r.Base = 7 },
		"another incarnation at W": func(_ *machine, r *wire.Resume) {
			r.Boundaries = wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}}
		},
		"boundaries that begin above W": func(m *machine, r *wire.Resume) {
			r.Boundaries = wire.History{{Incarnation: m.history[0].Incarnation, First: 7}}
		},
		"a new stream from a number not stored": func(_ *machine, r *wire.Resume) { r.Epoch, r.Base = wire.Epoch{ID: wire.NewID()}, 7 },
		"a new stream from a foreign number": func(_ *machine, r *wire.Resume) {
			r.Epoch, r.Base = wire.Epoch{ID: wire.NewID()}, 6
			r.Boundaries = wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}}
		},
	} {
		s.hello(m)
		r := m.resume(6)
		change(m, &r)
		if _, err := s.Resume(context.Background(), m.session, r); !errors.Is(err, collector.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", what, err)
		}
	}
	if w := s.connect(m); w != 6 {
		t.Errorf("W is %d, want 6", w)
	}
	if w := s.append(m, m.entry(7, 10)); w != 10 {
		t.Errorf("W is %d, want 10", w)
	}
}

// backlog waits until the store tells of a backlog: announcements need not be
// durable at once.
func (s *subject) backlog(id wire.AgentID, want uint64) {
	s.Helper()
	var got uint64
	for range 500 {
		known, err := s.Agents(context.Background())
		if err != nil {
			s.Fatal(err)
		}
		for _, k := range known {
			if k.Agent == id {
				got = k.Backlog
			}
		}
		if got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Errorf("the backlog of %s is %d, want %d", id, got, want)
}

func testBacklog(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	s.connect(m)
	s.backlog(m.id, 10)
	s.append(m, m.entry(1, 4))
	s.backlog(m.id, 6)
	m.put(5)
	announce := func(next wire.Seq) {
		t.Helper()
		if err := s.Announce(context.Background(), m.session, []collector.Announcement{{Stream: m.stream(), Next: next}}); err != nil {
			t.Fatal(err)
		}
	}
	announce(m.next())
	s.backlog(m.id, 11)
	announce(3) // an older one changes nothing
	m.put(1)
	announce(m.next())
	s.backlog(m.id, 12)
	announce(5)
	m.put(1)
	announce(m.next())
	s.backlog(m.id, 13)
	s.append(m, m.entry(5, 17))
	s.backlog(m.id, 0)
	// A folder that went back still owes what was announced.
	m.put(5)
	announce(m.next())
	s.backlog(m.id, 5)
	m.cut(17)
	m.start()
	m.put(1)
	s.connect(m)
	s.backlog(m.id, 6)
	s.append(m, m.entry(18, 18))
	s.backlog(m.id, 5)
	s.restart()
	s.backlog(m.id, 5)
}

// known waits until the store's word of an agent is as ok wants it.
func (s *subject) known(id wire.AgentID, ok func(collector.Known) bool) {
	s.Helper()
	var got collector.Known
	for range 500 {
		list, err := s.Agents(context.Background())
		if err != nil {
			s.Fatal(err)
		}
		for _, k := range list {
			if got = k; k.Agent == id && ok(k) {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Errorf("what is known of %s is %+v", id, got)
}

func testParting(t *testing.T, s *subject) {
	m := newMachine("pump-7", 1)
	s.connect(m)
	s.known(m.id, func(k collector.Known) bool { return k.Parting == nil && k.Seen.Equal(now) })
	p := collector.Parting{Time: now.Add(time.Minute), Goodbye: true, Reason: "shutdown"}
	if err := s.Part(context.Background(), m.session, p); err != nil {
		t.Fatal(err)
	}
	said := func(k collector.Known) bool {
		return k.Parting != nil && k.Parting.Goodbye && k.Parting.Reason == p.Reason && k.Parting.Time.Equal(p.Time) && k.Seen.Equal(p.Time)
	}
	s.known(m.id, said)
	s.restart()
	s.known(m.id, said)
	old := m.copy()
	s.connect(m)
	if err := s.Part(context.Background(), old.session, collector.Parting{Time: now, Reason: "late"}); err != nil {
		t.Errorf("the parting of a session that is fenced gives %v", err)
	}
	s.known(m.id, func(k collector.Known) bool { return k.Parting == nil })
}

func testAgents(t *testing.T, s *subject) {
	ids := []wire.AgentID{"zeta", "alpha", "beta-2", "beta.1"}
	for _, id := range ids {
		s.connect(newMachine(id, 1))
	}
	s.restart()
	list, err := s.Agents(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var got []wire.AgentID
	for _, k := range list {
		got = append(got, k.Agent)
		if k.Software != "storetest 1" || k.Host != (wire.Host{Name: "bench", OS: "linux", Arch: "arm"}) || k.Address != "192.0.2.7:4711" || !k.Seen.Equal(now) {
			t.Errorf("agent %+v", k)
		}
	}
	if diff := cmp.Diff([]wire.AgentID{"alpha", "beta-2", "beta.1", "zeta"}, got); diff != "" {
		t.Errorf("agents (-want +got):\n%s", diff)
	}
}

func testRead(t *testing.T, s *subject) {
	ctx := context.Background()
	if c, err := s.Read(ctx, "", func(collector.Stored) error { t.Error("an empty store has something"); return nil }); err != nil {
		t.Errorf("an empty store: cursor %q, %v", c, err)
	}
	a, b := newMachine("pump-7", 30), newMachine("pump-8", 30)
	s.connect(a)
	s.connect(b)
	var want []string
	for n := wire.Seq(1); n <= 30; n += 3 {
		for _, m := range []*machine{a, b} {
			s.append(m, m.entry(n, n+2))
			want = append(want, fmt.Sprintf("%s %d-%d", m.id, n, n+2))
		}
	}
	s.restart()
	all := s.all()
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprintf("%s %d-%d", r.Agent, r.Entry.From, r.Entry.To))
		if !r.Received.Equal(now) || r.Session == 0 || r.Stream.Lane != wire.DefaultLane {
			t.Errorf("stored as %+v", r)
		}
		if b, err := r.Entry.Check(); err != nil || b.Check() != nil {
			t.Errorf("a stored batch does not parse: %v", err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	// From every cursor the rest follows.
	for i, r := range all {
		rest := 0
		end, err := s.Read(ctx, r.Cursor, func(x collector.Stored) error {
			if rest++; x.Cursor != all[i+rest].Cursor {
				t.Errorf("after entry %d comes %s, want %s", i, x.Cursor, all[i+rest].Cursor)
			}
			return nil
		})
		if err != nil || rest != len(all)-1-i {
			t.Errorf("after entry %d come %d, want %d: %v", i, rest, len(all)-1-i, err)
		}
		if rest, err := s.Read(ctx, end, func(collector.Stored) error { return errors.New("there is more") }); err != nil {
			t.Errorf("at the end: cursor %q, %v", rest, err)
		}
	}
	end := all[len(all)-1].Cursor
	s.connect(a)
	a.put(1)
	s.append(a, a.entry(31, 31))
	n := 0
	if _, err := s.Read(ctx, end, func(collector.Stored) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("after the old end come %d entries, want 1: %v", n, err)
	}
	for _, c := range []collector.Cursor{"nonsense", "-1", "1-2", "99999999999999999999", "999999-999999-999999"} {
		if _, err := s.Read(ctx, c, func(collector.Stored) error { return nil }); err == nil {
			t.Errorf("cursor %q is taken", c)
		}
	}
}

func testReadStops(t *testing.T, s *subject) {
	m := newMachine("pump-7", 10)
	s.connect(m)
	for n := wire.Seq(1); n <= 10; n++ {
		s.append(m, m.entry(n, n))
	}
	stop := errors.New("enough")
	var seen wire.Seq
	at, err := s.Read(context.Background(), "", func(r collector.Stored) error {
		if r.Entry.From == 5 {
			return stop
		}
		seen = r.Entry.To
		return nil
	})
	if !errors.Is(err, stop) || seen != 4 {
		t.Fatalf("read ended with %v after %d", err, seen)
	}
	first := wire.Seq(0)
	if _, err := s.Read(context.Background(), at, func(r collector.Stored) error {
		if first == 0 {
			first = r.Entry.From
		}
		return nil
	}); err != nil || first != 5 {
		t.Errorf("going on begins with %d, want the one that was not taken, 5: %v", first, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err = s.Read(ctx, "", func(collector.Stored) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("a cancelled read went on for %d and gave %v", n, err)
	}
}

func testConcurrency(t *testing.T, s *subject) {
	const agents, entries = 24, 20
	var wg sync.WaitGroup
	for i := range agents {
		m := newMachine(wire.AgentID(fmt.Sprintf("pump-%02d", i)), entries*2)
		wg.Go(func() {
			s := &subject{Store: s.Store, T: t}
			match, err := s.Hello(context.Background(), collector.Hello{Hello: wire.Hello{Agent: m.id, Instance: m.instance}, Streams: []wire.StreamState{m.state()}, Time: now})
			if err != nil || match.Matches[0].Found {
				t.Errorf("hello of %s: %+v, %v", m.id, match, err)
				return
			}
			m.session = collector.Session{Agent: m.id, Session: match.Session}
			if _, err := s.Resume(context.Background(), m.session, m.resume(0)); err != nil {
				t.Errorf("resume of %s: %v", m.id, err)
				return
			}
			for n := wire.Seq(1); n <= entries*2; n += 2 {
				got, err := s.try(m, m.entry(n, n+1), m.entry(n, n+1))
				if err != nil || got[1].W != n+1 {
					t.Errorf("append of %s, %d: %+v, %v", m.id, n, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	next := map[wire.AgentID]wire.Seq{}
	for _, r := range s.all() {
		if r.Entry.From != next[r.Agent]+1 {
			t.Errorf("%s: %d follows %d", r.Agent, r.Entry.From, next[r.Agent])
		}
		next[r.Agent] = r.Entry.To
	}
	for id, w := range next {
		if w != entries*2 {
			t.Errorf("%s: %d numbers stored, want %d", id, w, entries*2)
		}
	}
	if len(next) != agents {
		t.Errorf("%d agents have entries, want %d", len(next), agents)
	}
}

func testCancelled(t *testing.T, s *subject) {
	m := newMachine("pump-7", 3)
	s.connect(m)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Append(ctx, m.session, []collector.Append{{Stream: m.stream(), Entry: m.entry(1, 1), Time: now}}); !errors.Is(err, context.Canceled) {
		t.Errorf("append with a context that has ended gives %v", err)
	}
	if _, err := s.Agents(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("agents with a context that has ended gives %v", err)
	}
	if w := s.append(m, m.entry(1, 1)); w != 1 {
		t.Errorf("W is %d, want 1", w)
	}
}

func testRestart(t *testing.T, s *subject) {
	m := newMachine("pump-7", 20)
	s.connect(m)
	s.append(m, m.entry(1, 4), m.tombstone(5, 6, wire.ReasonExpired))
	m.start()
	m.put(5)
	s.connect(m)
	s.append(m, m.entry(7, 20), m.entry(21, 22))
	before := s.all()
	s.restart()
	// A session and its streams outlive the restart: several collectors may be
	// doors to one store.
	if w := s.append(m, m.entry(23, 23)); w != 23 {
		t.Errorf("W is %d, want 23", w)
	}
	for range 3 {
		s.restart()
	}
	after := s.all()
	if diff := cmp.Diff(before, after[:len(before)]); diff != "" {
		t.Errorf("what is stored (-before +after):\n%s", diff)
	}
	m.acked = 6
	want := wire.Match{Found: true, Epoch: m.epoch, W: 23, Common: 23, FPCommon: m.fingerprint(23), FPAcked: m.fingerprint(6)}
	if diff := cmp.Diff(want, s.hello(m)); diff != "" {
		t.Errorf("match (-want +got):\n%s", diff)
	}
	if w := s.connect(m); w != 23 {
		t.Errorf("W is %d, want 23", w)
	}
	if w := s.append(m, m.entry(20, 20), m.entry(22, 25)); w != 25 {
		t.Errorf("W is %d, want 25", w)
	}
}
