package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

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
