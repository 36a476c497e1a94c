package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func TestDamageABatchThatDoesNotVerify(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.Put(context.Background(), msg("bad"), msg("bad"))
	l.put(5, 6)
	l.close()
	name := l.files()[0]
	flip(t, filepath.Join(l.cfg.Dir, name), "bad")
	l.open()
	l.welcome(storeA, wire.Match{})
	l.want(1, "m1", "m2", "corrupt", "corrupt", "m5", "m6")
	if _, err := os.Stat(filepath.Join(l.cfg.Dir, quarantine, name)); err != nil {
		t.Errorf("the damaged file is not kept: %v", err)
	}
	if st := l.Stats(); st.Dropped[wire.ReasonCorrupt] != 2 || st.Quarantined != 1 {
		t.Errorf("stats %+v", st)
	}
	l.crash() // a tombstone stays what it is
	l.want(1, "m1", "m2", "corrupt", "corrupt", "m5", "m6")
}

// wreck overwrites the pages that lead to the data: both meta pages.
func wreck(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 2*os.Getpagesize()), 0); err != nil {
		t.Fatal(err)
	}
}

func TestDamageAnOlderSegmentIsSalvaged(t *testing.T) {
	l := openLane(t)
	l.put(1, 9)
	l.reopen()
	l.put(10, 12)
	l.close()
	wreck(t, filepath.Join(l.cfg.Dir, l.files()[0]))
	l.open()
	l.want(1, bodies(1, 12)...)
	if l.Stats().Quarantined != 1 {
		t.Error("the damaged file is not kept")
	}
}

func TestDamageTheNewestSegmentIsSalvaged(t *testing.T) {
	l := openLane(t)
	l.put(1, 4)
	l.crash()
	l.put(5, 9)
	before := l.Streams()[0]
	l.close()
	files := l.files()
	wreck(t, filepath.Join(l.cfg.Dir, files[1]))
	l.open()
	l.want(1, bodies(1, 9)...)
	after := l.Streams()[0]
	if after.Epoch != before.Epoch || after.Boundaries[1] != before.Boundaries[1] || after.Next != 10 {
		t.Errorf("stream %+v, before %+v", after, before)
	}
	l.put(10, 10)
	l.crash()
	l.want(1, bodies(1, 10)...)
}

func TestDamageTheOnlySegmentIsSalvaged(t *testing.T) {
	l := openLane(t)
	l.put(1, 9)
	before := l.Streams()[0]
	l.close()
	wreck(t, filepath.Join(l.cfg.Dir, l.files()[0]))
	l.open()
	l.want(1, bodies(1, 9)...)
	if after := l.Streams()[0]; after.Epoch != before.Epoch || after.Boundaries[0] != before.Boundaries[0] {
		t.Errorf("stream %+v, before %+v", after, before)
	}
	l.close()
	// Nothing at all is left.
	for _, name := range l.files() {
		if err := os.Truncate(filepath.Join(l.cfg.Dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(l.cfg.Dir, memoName)); err != nil { // which knows more
		t.Fatal(err)
	}
	l.open()
	if after := l.Streams()[0]; after.Epoch == before.Epoch || after.Next != 1 {
		t.Errorf("stream %+v", after)
	}
	l.put(1, 1)
	l.want(1, "m1")
}

func TestDamageSealedBytesAreNotTakenForMessages(t *testing.T) {
	// A full disk leaves pages of a commit that was answered "certainly not
	// stored"; of two batches that contradict each other a search takes neither.
	inc, epoch := wire.Incarnation{ID: wire.ID{1}}, wire.Epoch{ID: wire.ID{2}}
	batch := func(first wire.Seq, bodies ...string) []byte {
		var records []byte
		for _, b := range bodies {
			m := msg(b)
			records, _ = wire.AppendRecord(records, &m)
		}
		return wire.AppendBatch(nil, wire.BatchHeader{Lane: "default", Epoch: epoch, Incarnation: inc, First: first, Count: uint32(len(bodies))}, records)
	}
	path := filepath.Join(t.TempDir(), "file")
	var b []byte
	for _, part := range [][]byte{[]byte("rubbish FPB\x01"), batch(1, "a"), batch(1, "a"), batch(2, "b", "no"), batch(3, "c"), batch(4, "d")[:70], batch(5, "e"), []byte("FPB")} {
		b = append(b, part...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := scan(path, "default")
	if err != nil {
		t.Fatal(err)
	}
	var firsts []wire.Seq
	for _, e := range found {
		firsts = append(firsts, e.first)
	}
	if fmt.Sprint(firsts) != "[1 5]" {
		t.Errorf("found %v", firsts)
	}
	if other, _ := scan(path, "alarms"); len(other) != 0 {
		t.Errorf("batches of another lane: %v", other)
	}
}

func TestDamageWhileOpen(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	tail := l.Queue.files.tail
	if err := os.Truncate(tail.path, 0); err != nil {
		t.Fatal(err)
	}
	l.put(4, 4) // a memory fault in bbolt; the lane goes on in a new file
	l.want(4, "m4")
	l.mu.Lock()
	l.recent = ring{}
	l.mu.Unlock()
	l.want(1, "corrupt", "corrupt", "corrupt", "m4")
}

func TestDamageWhileIdle(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	if err := os.Truncate(l.Queue.files.tail.path, 0); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.recent = ring{}
	l.mu.Unlock()
	l.want(1, "corrupt", "corrupt", "corrupt") // no Put comes that would find out
	l.put(4, 4)
	l.want(4, "m4")
}

// Rule 13: salvage comes before a tombstone, also where no new file can be made
// at the moment.
func TestRule13ADamagedTailIsNotGivenUpBeforeItIsSearched(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	wreck(t, l.Queue.files.tail.path)
	l.mu.Lock()
	l.recent = ring{}
	l.mu.Unlock()
	l.faults.fail(onCreate, errDisk)
	if _, ok, err := l.Next(l.epoch(), 1); err == nil {
		t.Errorf("next without room for a new file: %v, no error", ok)
	}
	l.want(1, bodies(1, 3)...)
}

func TestDamageDescriptorGone(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	l.Queue.files.tail.os.Close() // every write fails from now on
	l.put(4, 5)
	if n := len(l.files()); n != 2 {
		t.Errorf("%d files", n)
	}
	l.crash()
	l.want(1, bodies(1, 5)...)
}

// TestDamageAnywhere flips bytes and cuts files at random: opening and reading
// end without a panic, and what is shown was put, in order.
func TestDamageAnywhere(t *testing.T) {
	l := openLane(t)
	l.put(1, 20)
	for i := 21; i <= 30; i++ {
		body := fmt.Append(nil, "m", i, "")
		l.Put(context.Background(), wire.Message{Time: base, Body: append(body, make([]byte, 5000)...)})
	}
	l.close()
	files := l.files()
	good, err := os.ReadFile(filepath.Join(l.cfg.Dir, files[len(files)-1]))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(1)
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	for ; rounds > 0; rounds-- {
		seed++
		r := rand.New(rand.NewPCG(seed, 0))
		b := append([]byte(nil), good...)
		switch r.IntN(3) {
		case 0:
			for range 1 + r.IntN(3) {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
		case 1:
			b = b[:r.IntN(len(b))]
		case 2:
			at := r.IntN(len(b)/4096) * 4096
			clear(b[at : at+4096])
		}
		damagedFolder(t, fmt.Sprint("seed ", seed), l.cfg, files[len(files)-1], b)
	}
}

// damagedFolder opens a folder whose one segment has content b, and reads all.
func damagedFolder(t *testing.T, what string, cfg Config, name string, b []byte) {
	t.Helper()
	cfg.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cfg.Dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
	q, err := Open(context.Background(), cfg)
	if err != nil {
		return // a clear error
	}
	defer q.Close()
	if _, err := q.Welcome(context.Background(), storeA, q.Streams(), []wire.Match{{}}); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	st := q.Streams()[0]
	for n := wire.Seq(1); n < st.Next; {
		e, ok, err := q.Next(st.Epoch, n)
		if err != nil || !ok {
			t.Fatalf("%s: next %d of %d: %v, %v", what, n, st.Next, ok, err)
		}
		p, err := e.Check()
		if err != nil || e.From != n {
			t.Fatalf("%s: next %d: %+v: %v", what, n, e, err)
		}
		if !e.IsTombstone() {
			for rec, err := range p.Records() {
				m, merr := rec.Record.Message()
				if err != nil || merr != nil || string(m.Body[:len(fmt.Sprint("m", rec.Seq))]) != fmt.Sprint("m", rec.Seq) {
					t.Fatalf("%s: number %d reads as %.10q: %v %v", what, rec.Seq, m.Body, err, merr)
				}
			}
		}
		if n = e.To + 1; n > 1000 {
			return // a damaged counter made it endless; each step is sound
		}
	}
	if err := q.Put(context.Background(), msg("more")); err != nil {
		t.Fatalf("%s: put: %v", what, err)
	}
}

// A copy under another name takes the place of a file whose head cannot be read.
func TestACopyStandsInForADamagedFile(t *testing.T) {
	l := openLane(t, small)
	last := l.fill(4)
	want := l.drain(1)
	l.close()
	segs, _, err := list(l.cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	hurt := segs[1]
	path := filepath.Join(l.cfg.Dir, hurt.name())
	b := read(t, path)
	copied := filepath.Join(l.cfg.Dir, segment{hurt.ordinal, hurt.first + 1}.name())
	if err := errors.Join(os.WriteFile(copied, b, 0o600), os.Truncate(path, int64(len(b)/3))); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.welcome(storeA, wire.Match{})
	if got := l.drain(1); fmt.Sprint(got) != fmt.Sprint(want) || len(got) != int(last) {
		t.Errorf("%d numbers, want %d as they were", len(got), last)
	}
}

// The disk cannot read the head of a segment that is to be deleted, for a while: that
// is no damage, and the file goes with the next ones.
func TestDamageIsNotWhatCannotBeReadNow(t *testing.T) {
	l := openLane(t)
	l.welcome(storeA, wire.Match{})
	rotate := func() {
		must(t, l.do(context.Background(), func(c *change) (bool, error) { return true, l.rotate(c) }))
	}
	l.put(1, 3)
	rotate()
	l.put(4, 6)
	first := filepath.Join(l.cfg.Dir, l.files()[0])
	away := filepath.Join(t.TempDir(), "away")
	must(t, os.Rename(first, away))
	must(t, os.Mkdir(first, 0o700)) // it opens, and each read of it fails
	l.ack(5)
	rotate()
	l.waitFor("the first try", func(Stats) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.staying) == 1
	})
	must(t, os.Remove(first))
	must(t, os.Rename(away, first))
	l.ack(6)
	rotate()
	l.waitFor("deletion", func(Stats) bool { return len(l.files()) == 1 })
	if st := l.Stats(); st.Quarantined > 0 {
		t.Errorf("%d files are in quarantine", st.Quarantined)
	}
}
