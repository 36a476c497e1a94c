package queue

import (
	"context"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func TestRule1EachOpeningBeginsAnIncarnation(t *testing.T) {
	l := openLane(t)
	first := l.Streams()[0]
	if len(first.Boundaries) != 1 || first.Boundaries[0].First != 1 || first.Next != 1 {
		t.Fatalf("fresh lane: %+v", first)
	}
	l.put(1, 3)
	l.reopen()
	second := l.Streams()[0]
	if len(second.Boundaries) != 2 || second.Boundaries[1].First != 4 || second.Boundaries[0] != first.Boundaries[0] || second.Epoch != first.Epoch {
		t.Fatalf("after a restart: %+v, before: %+v", second, first)
	}
	// An opening that wrote nothing leaves no boundary: restarts do not grow it.
	for range 3 {
		l.reopen()
	}
	third := l.Streams()[0]
	if len(third.Boundaries) != 2 || third.Boundaries[1].First != 4 || third.Boundaries[1].Incarnation == second.Boundaries[1].Incarnation {
		t.Fatalf("after restarts without a put: %+v, before: %+v", third, second)
	}
	l.put(4, 5)
	for i, it := range l.drain(1) {
		if want := third.Boundaries.At(wire.Seq(i + 1)); it.inc != want {
			t.Errorf("number %d is of %s, want %s", i+1, it.inc, want)
		}
	}
	// It is on disk before the first put.
	l.crash()
	if b := l.Streams()[0].Boundaries; len(b) != 3 || b[1] != third.Boundaries[1] {
		t.Errorf("after a crash: %v, before: %v", b, third.Boundaries)
	}
}

func TestRule1ABatchIsOfOneIncarnation(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	l.reopen()
	l.put(4, 6)
	e, _, err := l.Next(l.epoch(), 1)
	if err != nil || e.To != 3 {
		t.Errorf("re-packed %d to %d across an incarnation: %v", e.From, e.To, err)
	}
}

func TestRule1RepackingKeepsBirths(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.reopen()
	l.put(3, 4)
	m := l.match(4)
	m.FPCommon = 0xBAD // all of it gets one incarnation; the batches keep their own
	l.welcome(storeA, m)
	l.put(5, 6)
	l.want(1, "m1?", "m2?", "m3?", "m4?", "m5", "m6")
	for _, n := range []wire.Seq{1, 3, 5} {
		if e, _, err := l.Next(l.epoch(), n); err != nil || e.To != n+1 {
			t.Errorf("entry %d to %d joins batches of two births: %v", e.From, e.To, err)
		}
	}
}

func TestRule2AdoptKeepOrFork(t *testing.T) {
	t.Run("not found keeps the epoch", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 3)
		epoch := l.epoch()
		r := l.welcome(storeA, wire.Match{})
		if r.Epoch != epoch || r.Base != 0 || r.Next != 4 || l.epoch() != epoch || l.Store() != storeA {
			t.Errorf("resume %+v", r)
		}
	})
	t.Run("common point at W adopts", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 3)
		other := wire.Epoch{ID: wire.NewID()}
		r := l.welcome(storeA, wire.Match{Found: true, Epoch: other, W: 2, Common: 2})
		if r.Epoch != other || r.Base != 2 || l.epoch() != other {
			t.Errorf("resume %+v", r)
		}
		l.waitFor("ack up to the common point", func(st Stats) bool { return st.Acked == 2 })
		l.crash()
		if l.epoch() != other || l.Store() != storeA {
			t.Error("the adopted epoch was not on disk")
		}
		l.want(3, "m3")
	})
	t.Run("W beyond the common point forks", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 5)
		epoch := l.epoch()
		r := l.welcome(storeA, wire.Match{Found: true, Epoch: epoch, W: 9, Common: 3})
		if r.Epoch == epoch || r.Epoch.IsZero() || r.Base != 3 || r.Next != 6 {
			t.Errorf("resume %+v", r)
		}
		l.want(4, "m4", "m5") // nothing is taken for a duplicate
		if st := l.Stats(); st.Forks != 1 {
			t.Errorf("stats: %+v", st)
		}
		fork := l.epoch()
		l.crash()
		if l.epoch() != fork {
			t.Error("the fork was not on disk before the resume")
		}
	})
	t.Run("answers that no store gives", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 3)
		said := l.Streams()
		for _, m := range []wire.Match{
			{Found: true, W: 3, Common: 3},
			{Found: true, Epoch: l.epoch(), W: 2, Common: 3},
			{Found: true, Epoch: l.epoch(), W: 9, Common: 4},
		} {
			if _, err := l.Welcome(context.Background(), storeA, said, []wire.Match{m}); err == nil {
				t.Errorf("%+v was taken", m)
			}
		}
		said[0].Epoch = wire.Epoch{ID: wire.NewID()}
		if _, err := l.Welcome(context.Background(), storeA, said, []wire.Match{{}}); err == nil {
			t.Error("a welcome for another epoch was taken")
		}
		if _, err := l.Welcome(context.Background(), storeA, nil, nil); err == nil {
			t.Error("a welcome for no stream was taken")
		}
	})
}

func (l *lane) fp(n wire.Seq) wire.Fingerprint {
	l.t.Helper()
	s := l.snapshot()
	fp, ok := l.Queue.files.fingerprint(&s, n)
	if !ok {
		l.t.Fatalf("fingerprint of %d is not known", n)
	}
	return fp
}

func TestRule2MemoryWentBack(t *testing.T) {
	t.Run("by fingerprint, from the last ack", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 6)
		l.welcome(storeA, wire.Match{})
		l.ack(2)
		m := l.match(4)
		m.FPCommon, m.FPAcked = 0xBAD, l.fp(2)
		before := l.Streams()[0].Boundaries
		r := l.welcome(storeA, m)
		if r.Base != 2 || r.Epoch == m.Epoch || len(r.Boundaries) != 2 || r.Boundaries[1].First != 3 || r.Boundaries[0] != before[0] {
			t.Fatalf("resume %+v", r)
		}
		l.want(3, "m3?", "m4?", "m5?", "m6?")
		l.put(7, 7) // under the new incarnation, and not doubled
		l.want(3, "m3?", "m4?", "m5?", "m6?", "m7")
		l.crash()
		l.want(3, "m3?", "m4?", "m5?", "m6?", "m7")
		if st := l.Stats(); st.RolledBack != 1 || st.Relabelled != 4 || st.Forks != 1 {
			t.Errorf("stats: %+v", st)
		}
	})
	t.Run("by fingerprint, not even the last ack", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 2)
		l.reopen()
		l.put(3, 6)
		l.welcome(storeA, wire.Match{})
		l.ack(4)
		m := l.match(5)
		m.FPCommon, m.FPAcked = 0xBAD, 0xBAD
		if r := l.welcome(storeA, m); r.Base != 2 { // from the start of that incarnation
			t.Fatalf("resume %+v", r)
		}
		l.want(3, "m3?", "m4?", "m5?", "m6?")
	})
	t.Run("by numbers beyond", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 3)
		m := l.match(3)
		m.W, m.Beyond, m.FPCommon = 8, true, l.fp(3)
		said := l.Streams()
		l.put(4, 5) // while the welcome was on its way
		// A copy of the folder made since the hello could have sent them: only a
		// newer hello can tell, or that there is never one new enough.
		for range maxStale {
			if _, err := l.Welcome(context.Background(), storeA, said, []wire.Match{m}); err == nil {
				t.Fatal("the first welcome to an old hello is believed")
			}
		}
		r, err := l.Welcome(context.Background(), storeA, said, []wire.Match{m})
		if err != nil || r[0].Base != 3 || r[0].Next != 6 || r[0].Boundaries[1].First != 4 {
			t.Fatalf("resume %+v, %v", r, err)
		}
		l.want(4, "m4?", "m5?")
	})
	t.Run("equal fingerprints", func(t *testing.T) {
		l := openLane(t)
		l.put(1, 3)
		m := l.match(2)
		m.FPCommon = l.fp(2)
		if r := l.welcome(storeA, m); r.Base != 2 || r.Epoch != m.Epoch {
			t.Errorf("resume %+v", r)
		}
		l.want(3, "m3")
	})
	t.Run("a batch is cut at the relabelling", func(t *testing.T) {
		l := openLane(t)
		l.Put(context.Background(), msg("m1"), msg("m2"), msg("m3"), msg("m4"))
		l.welcome(storeA, wire.Match{})
		l.ack(2)
		m := l.match(3)
		m.FPCommon, m.FPAcked = 0xBAD, l.fp(2)
		l.welcome(storeA, m)
		l.want(2, "m2", "m3?", "m4?")
		l.reopen()
		l.want(2, "m2", "m3?", "m4?")
	})
}

func TestRule3StoreBehind(t *testing.T) {
	l := openLane(t, func(c *Config) { c.SegmentSize = minSegmentSize })
	body := make([]byte, 9<<10)
	for range 12 {
		if err := l.Put(context.Background(), wire.Message{Time: base, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	l.welcome(storeA, wire.Match{})
	l.ack(8)
	oldest := l.Streams()[0]
	st := l.Stats()
	if st.Oldest < 2 || st.Oldest > 8 {
		t.Fatalf("oldest %d of acked 8: %+v", st.Oldest, oldest)
	}
	fp := l.snapshot().before
	r := l.welcome(storeA, l.match(1)) // a backup of the store
	if r.Base != 1 {
		t.Fatalf("resume %+v", r)
	}
	e, _, err := l.Next(l.epoch(), 2)
	if err != nil || e.Reason != wire.ReasonLostAtStore || e.To != st.Oldest-1 || e.Fingerprint != fp || fp == 0 {
		t.Fatalf("entry %+v, %v; oldest %d", e, err, st.Oldest)
	}
	if e, _, _ = l.Next(l.epoch(), st.Oldest); e.IsTombstone() {
		t.Errorf("number %d is held, and declared %s", st.Oldest, e.Reason)
	}
}

func TestRule4AcksAreKeptPerStore(t *testing.T) {
	l := openLane(t)
	l.put(1, 6)
	l.welcome(storeA, wire.Match{})
	l.ack(3)
	if r := l.welcome(storeB, wire.Match{}); r.Base != 0 {
		t.Fatalf("resume %+v", r)
	}
	l.want(1, "stored-in", "stored-in", "stored-in", "m4", "m5", "m6")
	e, _, _ := l.Next(l.epoch(), 2)
	if e.Detail != storeA.String() || e.To != 3 {
		t.Errorf("declaration %+v", e)
	}
	l.ack(5)
	l.reopen()
	l.want(1, "stored-in", "stored-in", "stored-in", "m4", "m5", "m6")
	l.welcome(storeA, l.match(3))
	l.want(1, "m1", "m2", "m3", "stored-in", "stored-in", "m6")
}
