package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

var (
	errDisk = errors.New("input/output error")
	errRoom = syscall.ENOSPC
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
			l.faults.fail(afterCommit, errDisk)
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
	l.faults.fail(afterCommit, errDisk)
	l.faults.fail(onCreate, errDisk, errDisk, errDisk, errDisk)
	if err := l.Put(context.Background(), msg("m2")); !errors.Is(err, ErrUncertain) {
		t.Fatalf("put: %v", err)
	}
	if err := l.Queue.Close(); !errors.Is(err, ErrUncertain) {
		t.Errorf("close: %v", err)
	}
	l.open() // and finds its bytes, whole
	l.put(3, 3)
	l.want(1, "m1", "m2", "m3")
}

// A commit that the lane has taken back itself is no damage to the next opening.
func TestRule5WhatWasTakenBackIsNoDamage(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.faults.fail(afterCommit, errDisk, errDisk) // of the commit, and of taking it back
	l.faults.fail(onCreate, errDisk)
	if err := l.Put(context.Background(), msg("m3")); err == nil {
		t.Fatal("stored")
	}
	l.cfg.Dir = l.copy() // as a kill leaves it
	l.Queue.Close()
	l.open()
	if st := l.Stats(); st.Quarantined != 0 {
		t.Errorf("%d files in quarantine", st.Quarantined)
	}
	l.put(int(l.Stats().Next), int(l.Stats().Next))
	l.want(1, bodies(1, int(l.Stats().Next)-1)...)
}

func TestRule5AFullDiskIsCertain(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	files := l.files()
	l.faults.fail(beforeCommit, errRoom)
	l.faults.fail(onCreate, errRoom, errRoom)
	for range 3 {
		if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrUncertain) {
			t.Fatalf("put: %v", err)
		}
		if st := l.Stats(); st.Failing == nil {
			t.Error("the stats do not say that nothing can be stored")
		}
	}
	// It resumes by itself, under the next number, in another file: a search of the
	// old one for what is left must not find what was refused.
	l.put(3, 3)
	if now := l.files(); len(now) != 2 || now[0] != files[0] || l.Stats().Failing != nil {
		t.Errorf("files %v, before %v", now, files)
	}
	l.want(1, bodies(1, 3)...)

	// A write error that is not for want of room: a new file takes the same bytes.
	l.faults.fail(beforeCommit, errDisk)
	l.put(4, 4)
	if len(l.files()) != 3 {
		t.Errorf("files %v", l.files())
	}
	// Not even that: certainly not stored, and its number is free.
	l.faults.fail(beforeCommit, errDisk)
	l.faults.fail(onCreate, errDisk)
	if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) || errors.Is(err, ErrUncertain) {
		t.Errorf("put: %v", err)
	}
	l.put(5, 5)
	l.want(1, bodies(1, 5)...)
}

// What an earlier process wrote reads well from the cache of the system, also
// after its sync has failed: an opening writes it once more and syncs that, before
// it shows anything.
func TestRule5OpeningWritesTheLastCommitAgain(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.Put(context.Background(), msg("m3"), msg("m4"))
	l.cfg.Dir = l.copy()
	old := filepath.Join(l.cfg.Dir, l.files()[0])
	l.Queue.Close()
	l.hook()
	l.unhook()
	var steps []string
	l.unhook = durable.Watch(filepath.Dir(l.cfg.Dir), func(s durable.Step, path string) error {
		steps = append(steps, string(s)+" "+filepath.Base(path))
		return nil
	})
	q, err := Open(context.Background(), l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Queue = q
	synced, made := slices.Index(steps, "sync "+filepath.Base(old)), slices.IndexFunc(steps, func(s string) bool { return strings.HasPrefix(s, "rename ") })
	if synced < 0 || made < synced || !slices.Contains(steps[:synced], "write "+filepath.Base(old)) {
		t.Errorf("steps: %v", steps)
	}
	files := l.files()
	if len(files) != 2 || files[1][11:] != "00000000000000000005.seg" {
		t.Errorf("after a crash: %v", files)
	}
	l.want(1, bodies(1, 4)...)
	l.reopen() // clean: nothing is rewritten, and the file goes on
	if after := l.files(); !slices.Equal(after, files) {
		t.Errorf("after a clean close: %v, before it %v", after, files)
	}
	l.want(1, bodies(1, 4)...)
}

// Where the old file cannot be written, the last commit goes into the new one.
func TestRule5OpeningWritesTheLastCommitIntoTheNewFile(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.Put(context.Background(), msg("m3"), msg("m4"))
	if err := l.again(afterCommit, errDisk); err != nil {
		t.Fatal(err)
	}
	files := l.files()
	if len(files) != 2 || files[1][11:] != "00000000000000000003.seg" {
		t.Fatalf("the last commit, 3 to 4, is not in the new segment: %v", files)
	}
	flip(t, filepath.Join(l.cfg.Dir, files[0]), "m3")
	l.want(1, bodies(1, 4)...)
}

func TestRule5NoCleanMarkAfterDoubt(t *testing.T) {
	l := openLane(t)
	l.faults.fail(afterCommit, errDisk)
	l.put(1, 1)
	l.reopen()
	if files := l.files(); len(files) != 2 || files[1][11:] != "00000000000000000002.seg" {
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
