package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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
	body := make([]byte, 8<<10)
	for range 12 {
		if err := l.Put(context.Background(), wire.Message{Time: base, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	l.welcome(storeA, wire.Match{})
	l.ack(9)
	oldest := l.Streams()[0]
	st := l.Stats()
	if st.Oldest < 2 || st.Oldest > 9 {
		t.Fatalf("oldest %d of acked 9: %+v", st.Oldest, oldest)
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

var (
	errDisk = errors.New("input/output error")
	errRoom = &notStored{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}}
	errPage = &notStored{&fs.PathError{Op: "write", Path: "x", Err: errDisk}}
)

func TestRule5FailedFsyncGoesToANewSegment(t *testing.T) {
	for _, where := range []point{beforeCommit, afterCommit} {
		t.Run(string(where), func(t *testing.T) {
			l := openLane(t)
			l.put(1, 2)
			files := l.files()
			l.faults.fail(where, errDisk)
			l.put(3, 3) // the new segment's fsync has decided
			now := l.files()
			if len(now) != 2 || now[0] != files[0] || now[1][11:] != "00000000000000000003.seg" {
				t.Fatalf("files %v, before %v", now, files)
			}
			sealed := modTime(t, l, now[0])
			l.put(4, 5)
			l.want(1, bodies(1, 5)...)
			if modTime(t, l, now[0]) != sealed {
				t.Error("the sealed segment was written again")
			}
			l.crash()
			l.want(1, bodies(1, 5)...)
		})
	}
}

func modTime(t *testing.T, l *lane, name string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(l.cfg.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime().UnixNano()
}

func TestRule5TheNewerFileWins(t *testing.T) {
	l := openLane(t)
	l.put(1, 1)
	l.faults.fail(afterCommit, errDisk) // the old file holds number 2 too
	l.put(2, 2)
	old := filepath.Join(l.cfg.Dir, l.files()[0])
	l.close()
	// Make what the sealed file says of number 2 unreadable.
	flip(t, old, "m2")
	l.open()
	l.want(1, "m1", "m2")
}

func TestRule5BothFailIsUncertain(t *testing.T) {
	for _, second := range []point{onCreate, onRename, onDirSync} {
		t.Run(string(second), func(t *testing.T) {
			l := openLane(t)
			l.put(1, 1)
			l.faults.fail(beforeCommit, errDisk)
			l.faults.fail(second, errDisk, errDisk, errDisk)
			if err := l.Put(context.Background(), msg("m2")); !errors.Is(err, ErrUncertain) {
				t.Fatalf("put: %v", err)
			}
			if got := l.Streams()[0].Next; got != 2 {
				t.Fatalf("next is %d: what is not synced is shown", got)
			}
			if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) || !errors.Is(err, errDisk) {
				t.Errorf("put while one is uncertain: %v", err)
			}
			// It is tried again, and its number is not given to anything else.
			l.waitFor("the retry", func(st Stats) bool { return st.Next == 3 && st.Failing == nil })
			l.put(3, 3)
			l.want(1, bodies(1, 3)...)
			l.crash()
			l.want(1, bodies(1, 3)...)
		})
	}
}

func TestRule5UncertainAtClose(t *testing.T) {
	l := openLane(t)
	l.put(1, 1)
	l.faults.fail(beforeCommit, errDisk)
	l.faults.fail(onCreate, errDisk, errDisk, errDisk, errDisk)
	if err := l.Put(context.Background(), msg("m2")); !errors.Is(err, ErrUncertain) {
		t.Fatalf("put: %v", err)
	}
	if err := l.Queue.Close(); !errors.Is(err, ErrUncertain) {
		t.Errorf("close: %v", err)
	}
	l.open()
	l.put(3, 3)
	l.want(1, "m1", "m3")
}

func TestRule5AFullDiskIsCertain(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	files := l.files()
	for range 3 {
		l.faults.fail(beforeCommit, errRoom)
		if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrUncertain) {
			t.Fatalf("put: %v", err)
		}
		if st := l.Stats(); st.Failing == nil {
			t.Error("the stats do not say that nothing can be stored")
		}
	}
	l.put(3, 3) // resumes by itself, in the same file, under the next number
	if fmt.Sprint(l.files()) != fmt.Sprint(files) || l.Stats().Failing != nil {
		t.Errorf("files %v, before %v", l.files(), files)
	}
	l.want(1, bodies(1, 3)...)

	// A write error that is not for want of room: a new file takes the same bytes.
	l.faults.fail(beforeCommit, errPage)
	l.put(4, 4)
	if len(l.files()) != 2 {
		t.Errorf("files %v", l.files())
	}
	// Not even that: certainly not stored, and its number is free.
	l.faults.fail(beforeCommit, errPage)
	l.faults.fail(onCreate, errDisk)
	if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) || errors.Is(err, ErrUncertain) {
		t.Errorf("put: %v", err)
	}
	l.put(5, 5)
	l.want(1, bodies(1, 5)...)
}

func TestRule5OpeningRewritesTheTail(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.Put(context.Background(), msg("m3"), msg("m4"))
	l.crash()
	files := l.files()
	if len(files) != 2 || files[1][11:] != "00000000000000000003.seg" {
		t.Fatalf("after a crash the last commit, 3 to 4, is not in the new segment: %v", files)
	}
	// Only the new file has been synced by this process: it must not need the old.
	flip(t, filepath.Join(l.cfg.Dir, files[0]), "m3")
	l.want(1, bodies(1, 4)...)
	l.reopen() // clean: nothing is rewritten
	files = l.files()
	if last := files[len(files)-1]; last[11:] != "00000000000000000005.seg" {
		t.Errorf("after a clean close: %v", files)
	}
	l.want(1, bodies(1, 4)...)
}

func TestRule5NoCleanMarkAfterDoubt(t *testing.T) {
	l := openLane(t)
	l.faults.fail(afterCommit, errDisk)
	l.put(1, 1)
	l.reopen()
	if files := l.files(); len(files) != 1 || files[0][11:] != "00000000000000000001.seg" {
		t.Errorf("files %v: the tail was taken for clean", files)
	}
	l.want(1, "m1")
}

// flip damages the last occurrence of a text in a file.
func flip(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for i := 0; i+len(text) <= len(b); i++ {
		if string(b[i:i+len(text)]) == text {
			b[i] ^= 0x40
			found = true
		}
	}
	if !found {
		t.Fatalf("%q is not in %s", text, path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

func TestRule6OnlySyncedIsShown(t *testing.T) {
	l := openLane(t)
	l.put(1, 1)
	l.faults.fail(afterCommit, errDisk) // in the file, and not known to be synced
	l.faults.fail(onCreate, errDisk)
	var wg sync.WaitGroup
	wg.Go(func() { l.Put(context.Background(), msg("m2")) })
	wg.Wait()
	st := l.Streams()[0]
	if _, ok, err := l.Next(l.epoch(), 2); ok || err != nil || st.Next != 2 {
		t.Errorf("number 2 is shown before its sync: %v, next %d", err, st.Next)
	}
	if a, _ := l.Announce(l.epoch()); a.Next != 2 {
		t.Errorf("number 2 is announced: %+v", a)
	}
	l.waitFor("the retry", func(st Stats) bool { return st.Next == 3 })
	l.want(1, "m1", "m2")
}

func TestRule6SyncedIsCalledAfterTheCommit(t *testing.T) {
	var l *lane
	seen := make(chan wire.Seq, 8)
	l = openLane(t, func(c *Config) {
		c.Synced = func() { seen <- l.Streams()[0].Next }
	})
	l.put(1, 1)
	if n := <-seen; n != 2 {
		t.Errorf("told of a commit at next %d", n)
	}
	l.welcome(storeA, wire.Match{})
	<-seen
	l.ack(1)
	l.put(2, 2)
	if n := <-seen; n != 3 {
		t.Errorf("told of a commit that shows nothing, at next %d", n)
	}
}
