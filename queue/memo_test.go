package queue

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func remove(t *testing.T, l *lane, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, os.Remove(filepath.Join(l.cfg.Dir, name)))
	}
}

func times(n int, s string) []string { return slices.Repeat([]string{s}, n) }

func TestTheNewestFileIsGone(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	l.reopen() // goes on in the file
	l.put(4, 5)
	epoch := l.epoch()
	l.crash() // a file of its own; the folder is another, and so is the memo
	l.put(6, 9)
	before := l.Streams()[0]
	l.close()
	if v, err := Verify(context.Background(), l.cfg.Dir, l.cfg.Agent, l.cfg.Lane, nil); err != nil || !v.Whole() {
		t.Errorf("verify: %+v, %v", v.Findings, err)
	}
	files := l.files()
	remove(t, l, files[len(files)-1])
	if v, err := Verify(context.Background(), l.cfg.Dir, l.cfg.Agent, l.cfg.Lane, nil); err != nil || len(v.Findings) != 1 || v.Findings[0].From != 6 || v.Findings[0].To != 9 {
		t.Errorf("verify: %+v, %v", v.Findings, err)
	}
	l.open()
	after := l.Streams()[0]
	if after.Epoch != epoch || after.Next != 10 || after.Boundaries.At(9) != before.Boundaries.At(9) || after.Boundaries.At(6) != before.Boundaries.At(6) {
		t.Errorf("stream %+v, before %+v", after, before)
	}
	if _, ok, err := l.Next(epoch, 6); err == nil { // rule 12: the store may have them
		t.Errorf("before a welcome: %t", ok)
	}
	l.put(10, 10)
	l.welcome(storeA, l.match(7))
	l.want(8, "missing", "missing", "m10")
	if st := l.Stats(); st.Dropped[wire.ReasonMissing] != 4 && st.Dropped[wire.ReasonMissing] != 2 {
		t.Errorf("stats %+v", st)
	}
	l.reopen()
	l.want(8, "missing", "missing", "m10")
	l.put(11, 11)
	l.want(10, "m10", "m11")
}

func TestAllFilesAreGone(t *testing.T) {
	l := openLane(t)
	l.put(1, 9)
	l.welcome(storeA, wire.Match{})
	l.ack(4)
	before := l.Streams()[0]
	l.close()
	remove(t, l, l.files()...)
	l.open()
	after := l.Streams()[0]
	if after.Epoch != before.Epoch || after.Next != 10 || after.Acked != 4 || l.Store() != storeA {
		t.Errorf("stream %+v of store %s, before %+v", after, l.Store(), before)
	}
	l.put(10, 10)
	l.welcome(storeA, l.match(4))
	l.want(5, append(times(5, "missing"), "m10")...)
	l.reopen()
	l.welcome(storeB, wire.Match{}) // one that is told all
	l.want(1, append(append(times(4, "stored-in"), times(5, "missing")...), "m10")...)
}

func TestTheNewestFileEndsBeforeWhatWasAccepted(t *testing.T) {
	// The file is an older copy of itself, as from a backup.
	l := openLane(t)
	l.put(1, 3)
	name := l.files()[0]
	old := read(t, filepath.Join(l.cfg.Dir, name))
	l.put(4, 9)
	before := l.Streams()[0]
	l.close()
	f, err := os.OpenFile(filepath.Join(l.cfg.Dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = f.Write(old)
	must(t, err)
	must(t, f.Close())
	l.open()
	if after := l.Streams()[0]; after.Next != 10 || after.Boundaries.At(9) != before.Boundaries.At(9) {
		t.Errorf("stream %+v, before %+v", after, before)
	}
	l.put(10, 10)
	l.welcome(storeA, wire.Match{})
	l.want(1, append(append(bodies(1, 3), times(6, "corrupt")...), "m10")...)
}

func TestAMemoThatDoesNotCount(t *testing.T) {
	for name, change := range map[string]func(b []byte, path string) []byte{
		"none":           func([]byte, string) []byte { return nil },
		"flipped bit":    func(b []byte, _ string) []byte { b[40] ^= 4; return b },
		"cut":            func(b []byte, _ string) []byte { return b[:len(b)-9] },
		"length":         func(b []byte, _ string) []byte { b[0] = 0xFF; return b },
		"zeros":          func(b []byte, _ string) []byte { return make([]byte, len(b)) },
		"noise":          func(b []byte, _ string) []byte { return bytes.Repeat([]byte("x"), len(b)) },
		"in another":     func(b []byte, path string) []byte { os.Rename(path, path+"-old"); return b },
		"of another one": func(b []byte, _ string) []byte { return b },
	} {
		l := openLane(t)
		l.put(1, 3)
		l.close()
		if name == "of another one" {
			l.cfg.Agent = "pump-8"
		}
		path := filepath.Join(l.cfg.Dir, memoName)
		b := change(read(t, path), path)
		remove(t, l, l.files()...)
		if b == nil {
			must(t, os.Remove(path))
		} else {
			must(t, os.WriteFile(path, b, 0o600)) // in place: the file's number stays
		}
		l.open()
		if st := l.Streams()[0]; st.Next != 1 {
			t.Errorf("%s: it was believed: %+v", name, st)
		}
		l.put(1, 1)
		l.want(1, "m1")
		l.close()
	}
}

func TestMemoOfManyOpenings(t *testing.T) {
	l := openLane(t)
	for i := range 2*memoHistory + 1 {
		l.put(i+1, i+1)
		l.reopen()
	}
	next := int(l.Streams()[0].Next)
	want := l.Streams()[0].Boundaries
	l.close()
	m := readMemo(l.cfg.Dir, l.cfg.Agent, l.cfg.Lane)
	if m == nil || !m.cut || len(m.history) != memoHistory || int(m.next) != next {
		t.Fatalf("memo %+v", m)
	}
	remove(t, l, l.files()...)
	l.open()
	got := l.Streams()[0].Boundaries
	if got[0] != want[len(want)-memoHistory] {
		t.Errorf("history %v, was %v", got, want)
	}
	l.welcome(storeA, wire.Match{})
	var n wire.Seq
	for e, ok, err := l.Next(l.epoch(), 1); ok; e, ok, err = l.Next(l.epoch(), n+1) {
		must(t, err)
		if e.Reason != wire.ReasonMissing || e.From != n+1 {
			t.Errorf("after %d: %+v", n, e)
		}
		n = e.To
	}
	if int(n) != next-1 {
		t.Errorf("up to %d of %d", n, next-1)
	}
}

func TestAFileOfAnotherStreamIsNotTakenForTheNewest(t *testing.T) {
	l, other := openLane(t), openLane(t)
	other.put(1, 20)
	l.put(1, 5)
	before := l.Streams()[0]
	l.close()
	other.close()
	must(t, os.Rename(filepath.Join(other.cfg.Dir, other.files()[0]), filepath.Join(l.cfg.Dir, segment{7, 1}.name())))
	l.open()
	if after := l.Streams()[0]; after.Epoch != before.Epoch || after.Next != 6 {
		t.Errorf("stream %+v, before %+v", after, before)
	}
	l.want(1, bodies(1, 5)...)
}

func TestBatchesOfAnotherAgentAreNotTakenOver(t *testing.T) {
	// Another agent's lane of the same name: nothing but its head says whose it is,
	// and that is gone.
	l, other := openLane(t), openLane(t, func(c *Config) { c.Agent = "pump-8" })
	for range 9 {
		must(t, other.Put(context.Background(), msg("foreign")))
	}
	l.put(1, 5)
	l.close()
	other.close()
	path := filepath.Join(l.cfg.Dir, segment{7, 1}.name())
	must(t, os.Rename(filepath.Join(other.cfg.Dir, other.files()[0]), path))
	wreckState(t, path)
	l.open()
	l.put(6, 6)
	l.welcome(storeA, wire.Match{})
	l.want(1, bodies(1, 6)...)
}

func FuzzMemo(f *testing.F) {
	f.Add(appendMemo(nil, &memo{file: 7, whose: 9, segment: segment{3, 4}, next: 9, epoch: wire.Epoch{ID: wire.ID{1}}, history: wire.History{{Incarnation: wire.Incarnation{ID: wire.ID{2}}, First: 1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMemo(b)
		if err != nil {
			return
		}
		if again := appendMemo(nil, &m); !bytes.Equal(again, b) {
			t.Errorf("%x is read and written as %x", b, again)
		}
	})
}
