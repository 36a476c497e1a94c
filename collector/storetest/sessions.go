package storetest

import (
	"context"
	"errors"
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
