package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// copyFile copies a file, or the first bytes of it.
func copyFile(t *testing.T, from, to string, most int64) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if most > 0 {
		b = b[:min(most, int64(len(b)))]
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRule13WhatIsInQuarantineIsSearchedBeforeATombstone(t *testing.T) {
	// A copy that was made in part, beside the file whose meta pages are gone: the
	// copy takes the name, for it alone has a head.
	l := openLane(t)
	for i := range 12 {
		must(t, l.Put(context.Background(), msg(fmt.Sprint("m", i+1, strings.Repeat("-", 400*(i%4)*(i%4))))))
	}
	want := l.drain(1)
	l.close()
	whole := l.cfg.Dir
	size := int64(len(read(t, filepath.Join(whole, l.files()[0]))))
	for cut := int64(os.Getpagesize()); cut < size; cut += int64(os.Getpagesize()) {
		l.cfg.Dir = whole
		l.cfg.Dir = l.copy()
		path := filepath.Join(l.cfg.Dir, l.files()[0])
		copyFile(t, path, filepath.Join(l.cfg.Dir, segment{2, 11}.name()), cut)
		wreck(t, path)
		l.open()
		l.welcome(storeA, wire.Match{})
		if got := l.drain(1); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("a copy of %d of %d bytes: %.200s", cut, size, got)
		}
		l.close()
	}
}

func TestRule13ACopyInQuarantineFillsTheGapsOfTheNewestFile(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	must(t, l.Put(context.Background(), msg("m4-here")))
	must(t, l.Put(context.Background(), msg("m5-here")))
	l.put(6, 9)
	before := l.Streams()[0]
	l.close()
	name := l.files()[0]
	path := filepath.Join(l.cfg.Dir, name)
	must(t, os.Mkdir(filepath.Join(l.cfg.Dir, quarantine), 0o700))
	kept := filepath.Join(l.cfg.Dir, quarantine, movedPrefix+name+".2")
	copyFile(t, path, kept, 0)
	flip(t, kept, "m4-here") // 5 is there alone, 4 nowhere
	flip(t, path, "m4-here")
	flip(t, path, "m5-here")
	wreckState(t, path)
	l.open()
	l.welcome(storeA, wire.Match{})
	l.want(1, "m1", "m2", "m3", "corrupt", "m5-here", "m6", "m7", "m8", "m9")
	if after := l.Streams()[0]; after.Boundaries[0] != before.Boundaries[0] {
		t.Errorf("boundaries %v, before %v", after.Boundaries, before.Boundaries)
	}
}

// wreckState overwrites the meta pages and every record of the state.
func wreckState(t *testing.T, path string) {
	t.Helper()
	wreck(t, path)
	b := bytes.ReplaceAll(read(t, path), []byte(recordMagic), []byte("GONE"))
	must(t, os.WriteFile(path, b, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRule5WhatWasRefusedIsNotFoundInQuarantine(t *testing.T) {
	// A refused commit has left its bytes in the first file; its number stands for
	// what was accepted afterwards, in the second, which is damaged.
	l := openLane(t)
	l.put(1, 3)
	first := l.files()[0]
	refused := batchOf(t, l, 4, "refused")
	l.faults.fail(beforeCommit, errRoom)
	l.faults.fail(onCreate, errRoom)
	if err := l.Put(context.Background(), msg("refused")); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	l.faults.disarm()
	must(t, l.Put(context.Background(), msg("accepted")))
	l.close()
	must(t, os.Mkdir(filepath.Join(l.cfg.Dir, quarantine), 0o700))
	must(t, os.WriteFile(filepath.Join(l.cfg.Dir, quarantine, first), append(read(t, filepath.Join(l.cfg.Dir, first)), refused...), 0o600))
	flip(t, filepath.Join(l.cfg.Dir, l.files()[1]), "accepted")
	l.open()
	l.welcome(storeA, wire.Match{})
	l.want(1, "m1", "m2", "m3", "corrupt")
}

// batchOf is a batch as the lane's present opening would write it.
func batchOf(t *testing.T, l *lane, first wire.Seq, body string) []byte {
	t.Helper()
	m := msg(body)
	record, err := wire.AppendRecord(nil, &m)
	must(t, err)
	s := l.Streams()[0]
	return wire.AppendBatch(nil, wire.BatchHeader{Lane: l.cfg.Lane, Epoch: s.Epoch, Incarnation: s.Boundaries.At(first), First: first, Count: 1}, record)
}

// What could not be searched a moment ago is searched by the next read, before its
// numbers count as lost.
func TestRule13OneFailedLookDoesNotMakeALoss(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, quarantine), nil, 0o600)) // it cannot be listed
	fs := &files{dir: dir, elsewhere: func() []string { return []string{other} }}
	s := &state{oldest: 1, next: 2}
	for try := range 2*salvageTries - 1 {
		if _, err := fs.inAside(s, &gap{span: span{1, 1}}); err == nil {
			t.Fatalf("look %d failed, and the numbers count as lost", try+1)
		}
	}
	if _, err := fs.inAside(s, &gap{span: span{1, 1}}); err != nil {
		t.Fatalf("the lane waits for ever: %v", err)
	}
}
