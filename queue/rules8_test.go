package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func TestRule8CommittingATombstoneIsTheDrop(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.Put(context.Background(), msg("m3"), msg("m4"), msg("m5"))
	l.put(6, 7)
	// 4 and 5 are half a batch: whole batches only.
	n, err := l.Drop(context.Background(), 4, 6, wire.ReasonOverflow)
	if err != nil || n != 1 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	l.want(1, "m1", "m2", "m3", "m4", "m5", "overflow", "m7")
	if n, err = l.Drop(context.Background(), 3, 6, wire.ReasonOverflow); err != nil || n != 3 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	e, _, _ := l.Next(l.epoch(), 3)
	if e.To != 6 || e.Fingerprint == 0 || e.Time.IsZero() {
		t.Errorf("neighbours do not merge: %+v", e)
	}
	if n, err = l.Drop(context.Background(), 1, 99, wire.ReasonPurged); err != nil || n != 3 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	want := []string{"purged", "purged", "overflow", "overflow", "overflow", "overflow", "purged"}
	l.want(1, want...)
	st := l.Stats()
	if st.Backlog != 0 || st.BacklogBytes != 0 || st.Dropped[wire.ReasonOverflow] != 4 || st.Dropped[wire.ReasonPurged] != 3 || !st.OldestTime.IsZero() {
		t.Errorf("stats %+v", st)
	}
	l.crash()
	l.want(1, want...)
	l.put(8, 8)
	l.want(7, "purged", "m8")
	if _, err := l.Drop(context.Background(), 1, 9, wire.ReasonStoredIn); err == nil {
		t.Error("a declaration was taken for a drop")
	}
}

func TestRule8TombstonesDoNotCrossIncarnations(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.reopen()
	l.put(3, 4)
	if n, err := l.Drop(context.Background(), 1, 4, wire.ReasonPurged); err != nil || n != 4 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	for _, n := range []wire.Seq{1, 3} {
		if e, _, _ := l.Next(l.epoch(), n); e.To != n+1 || e.Fingerprint == 0 {
			t.Errorf("entry %+v", e)
		}
	}
}

func TestRule8AckedNumbersAreNotDropped(t *testing.T) {
	l := openLane(t)
	l.Put(context.Background(), msg("m1"), msg("m2"), msg("m3"))
	l.welcome(storeA, wire.Match{})
	l.Ack(l.epoch(), 2)
	if n, err := l.Drop(context.Background(), 1, 3, wire.ReasonExpired); err != nil || n != 1 {
		t.Fatalf("dropped %d, %v", n, err)
	}
	l.want(1, "m1", "m2", "expired")
}

func TestRule10RefusedMessages(t *testing.T) {
	l := openLane(t)
	l.Put(context.Background(), msg("m1"), msg("m2"), msg("m3"))
	l.welcome(storeA, wire.Match{})
	if stopped, err := l.Reject(context.Background(), l.epoch(), 2, strings.Repeat("ß", 200)); stopped || err != nil {
		t.Fatal(stopped, err)
	}
	l.want(1, "m1", "rejected", "m3")
	for _, n := range []wire.Seq{0, 2, 4} { // not data
		if stopped, err := l.Reject(context.Background(), l.epoch(), n, "no"); stopped || err != nil {
			t.Error(n, stopped, err)
		}
	}
	e, _, _ := l.Next(l.epoch(), 2)
	if _, err := e.Check(); err != nil || len(e.Detail) < 250 {
		t.Errorf("detail %q: %v", e.Detail, err)
	}
	l.crash()
	l.want(1, "m1", "rejected", "m3")
	got, err := readLetters(l.Queue.files.tail)
	if err != nil || len(got) != 0 { // in the segment before
		t.Fatal(got, err)
	}
	l.welcome(storeA, l.match(0))
	l.ack(3) // the segment with the dead letter goes
	l.waitFor("unlink", func(Stats) bool { return len(l.files()) == 1 })
	kept, err := os.ReadDir(filepath.Join(l.cfg.Dir, deadFolder))
	if err != nil || len(kept) != 1 {
		t.Fatalf("dead letters are not kept: %v, %v", kept, err)
	}
	f, err := openSealed(filepath.Join(l.cfg.Dir, deadFolder, kept[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	got, err = readLetters(f)
	if err != nil || len(got) != 1 || got[0].n != 2 || got[0].epoch != l.epoch() {
		t.Fatalf("%+v, %v", got, err)
	}
	if m, err := got[0].record.Message(); err != nil || string(m.Body) != "m2" {
		t.Errorf("%+v, %v", m, err)
	}
	if l.Stats().DeadLetters != 1 {
		t.Errorf("%+v", l.Stats())
	}
}

func TestRule10ARunOfRefusalsStopsTheLane(t *testing.T) {
	l := openLane(t)
	var list []wire.Message
	for i := range 3 * maxRefusals {
		list = append(list, msg(fmt.Sprint("m", i+1)))
	}
	l.Put(context.Background(), list...)
	l.welcome(storeA, wire.Match{})
	n := wire.Seq(0)
	for range maxRefusals - 1 {
		n++
		if stopped, err := l.Reject(context.Background(), l.epoch(), n, "no"); stopped || err != nil {
			t.Fatal(n, stopped, err)
		}
		l.Ack(l.epoch(), n) // of the tombstone: no progress
	}
	n++
	l.Ack(l.epoch(), n) // something is stored
	for range maxRefusals {
		n++
		stopped, err := l.Reject(context.Background(), l.epoch(), n, "no")
		if want := n == 2*maxRefusals; stopped != want || err != nil {
			t.Fatal(n, stopped, err)
		}
		l.Ack(l.epoch(), n)
	}
	if _, ok, err := l.Next(l.epoch(), n+1); ok || err != nil || !l.Stats().Stopped {
		t.Error("the lane goes on")
	}
	l.put(1, 1) // it accepts
	l.reopen()
	if _, ok, _ := l.Next(l.epoch(), n+1); !ok {
		t.Error("a restart by the operator does not start it")
	}
}

// fill puts messages of 8 KiB until the lane has a number of segments.
func (l *lane) fill(segments int) (n wire.Seq) {
	l.t.Helper()
	body := make([]byte, 8<<10)
	for l.Stats().Segments < segments {
		if err := l.Put(context.Background(), wire.Message{Time: base, Body: body}); err != nil {
			l.t.Fatal(err)
		}
	}
	return l.Streams()[0].Next - 1
}

func small(c *Config) { c.SegmentSize = minSegmentSize }

func TestRule12SegmentsGoWhenAcked(t *testing.T) {
	l := openLane(t, small)
	last := l.fill(4)
	segs, _, _ := list(l.cfg.Dir)
	l.welcome(storeA, wire.Match{})
	l.ack(segs[1].first - 2)
	if n := len(l.files()); n != 4 {
		t.Fatalf("%d files, one number of the first is not acked", n)
	}
	l.ack(segs[2].first - 1)
	l.waitFor("unlink", func(Stats) bool { return len(l.files()) == 2 })
	if got := l.files(); got[0] != segs[2].name() {
		t.Fatalf("files %v", got)
	}
	s := l.snapshot()
	if s.oldest != segs[2].first || s.before == 0 {
		t.Errorf("oldest %d, fingerprint before it %s", s.oldest, s.before)
	}
	l.ack(last)
	l.waitFor("an empty lane gives its disk back", func(st Stats) bool { return st.Segments == 1 })
	l.reopen()
	if st := l.Streams()[0]; st.Next != last+1 || st.Acked != last {
		t.Errorf("the next number of an empty lane did not survive: %+v", st)
	}
}

func TestRule12NothingIsUnlinkedBeforeTheAckIsDurable(t *testing.T) {
	l := openLane(t, small)
	l.fill(3)
	segs, _, _ := list(l.cfg.Dir)
	l.welcome(storeA, wire.Match{})
	// The commit of the ack fails, and so does every way around it.
	l.faults.fail(beforeCommit, errRoom, errRoom)
	l.Ack(l.epoch(), segs[1].first-1)
	l.waitFor("the failure", func(st Stats) bool { return st.Failing != nil })
	if len(l.files()) != 3 {
		t.Fatalf("files %v: the ack is not on disk", l.files())
	}
	l.put(1, 1)
	l.waitFor("unlink", func(st Stats) bool { return st.Segments == 2 })
}

func TestRule12DroppedSegmentsGo(t *testing.T) {
	l := openLane(t, small)
	last := l.fill(4)
	segs, _, _ := list(l.cfg.Dir)
	if _, err := l.Drop(context.Background(), segs[1].first, segs[2].first-1, wire.ReasonOverflow); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the bytes of what was dropped being gone", func(Stats) bool { return len(l.files()) == 3 })
	check := func() {
		t.Helper()
		got := l.drain(1)
		for i, it := range got {
			n := wire.Seq(i + 1)
			if dropped := n >= segs[1].first && n < segs[2].first; dropped != (it.reason == wire.ReasonOverflow) {
				t.Fatalf("number %d: %s", n, it)
			}
		}
		if len(got) != int(last) {
			t.Fatalf("%d of %d", len(got), last)
		}
	}
	check()
	l.crash()
	check()
}

func TestRule12MissingSegment(t *testing.T) {
	l := openLane(t, small)
	last := l.fill(4)
	l.close()
	segs, _, _ := list(l.cfg.Dir)
	gone := filepath.Join(l.cfg.Dir, segs[1].name())
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(gone, aside); err != nil {
		t.Fatal(err)
	}
	l.open()
	if _, ok, err := l.Next(l.epoch(), segs[1].first); ok || err == nil {
		t.Fatal("a tombstone for a missing file before any welcome")
	}
	if l.Stats().Dropped[wire.ReasonMissing] != 0 {
		t.Fatal("a tombstone before any welcome")
	}
	l.welcome(storeA, wire.Match{})
	got := l.drain(1)
	for i, it := range got {
		n := wire.Seq(i + 1)
		if missing := n >= segs[1].first && n < segs[2].first; missing != (it.reason == wire.ReasonMissing) {
			t.Fatalf("number %d: %q", n, it.reason)
		}
	}
	if len(got) != int(last) {
		t.Fatalf("%d of %d", len(got), last)
	}
	// What turns up afterwards stays in quarantine.
	l.close()
	if err := os.Rename(aside, gone); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.waitFor("the file in quarantine alone", func(st Stats) bool {
		return !slices.Contains(l.files(), segs[1].name()) && st.Quarantined == 1
	})
	if again := l.drain(1); fmt.Sprint(again) != fmt.Sprint(got) {
		t.Error("the file was taken back after its tombstone")
	}
}

func TestRule12MissingOldestSegment(t *testing.T) {
	l := openLane(t, small)
	l.fill(3)
	l.close()
	segs, _, _ := list(l.cfg.Dir)
	os.Remove(filepath.Join(l.cfg.Dir, segs[0].name()))
	l.open()
	l.welcome(storeA, wire.Match{})
	for i, it := range l.drain(1) {
		if missing := wire.Seq(i+1) < segs[1].first; missing != (it.reason == wire.ReasonMissing) {
			t.Fatalf("number %d: %q", i+1, it.reason)
		}
	}
}

func TestRule12LeftoverTemporaryFilesGo(t *testing.T) {
	l := openLane(t)
	l.put(1, 1)
	l.close()
	temp := filepath.Join(l.cfg.Dir, tempPrefix+segment{2, 2}.name()+tempSuffix)
	if err := os.WriteFile(temp, []byte("half a segment"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open()
	if _, err := os.Stat(temp); !isNotExist(err) {
		t.Error("a leftover temporary file stays")
	}
	l.want(1, "m1")
}

func TestTheFolderIsTakenAway(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	if err := os.RemoveAll(l.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	l.put(3, 4) // a Put that says yes is in a folder that is there
	if len(l.files()) != 1 {
		t.Fatalf("files %v", l.files())
	}
	l.crash()
	l.welcome(storeA, wire.Match{})
	l.want(1, "missing", "missing", "m3", "m4")
}

func TestTheFolderIsReplaced(t *testing.T) {
	other := openLane(t)
	other.put(1, 1)
	other.close()
	l := openLane(t)
	l.put(1, 2)
	away := l.cfg.Dir + ".away"
	if err := os.Rename(l.cfg.Dir, away); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other.cfg.Dir, l.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	err := l.Put(context.Background(), msg("m3"))
	if err == nil {
		t.Fatal("a Put into a folder that is another's said yes")
	}
	os.Rename(l.cfg.Dir, other.cfg.Dir)
	os.Rename(away, l.cfg.Dir)
	l.waitFor("the folder being back", func(st Stats) bool { return st.Failing == nil })
	l.put(4, 4)
	l.want(1, "m1", "m2", "m3", "m4")
}

func TestAnAckDuringACommitIsNotForgotten(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	l.welcome(storeA, wire.Match{})
	l.Ack(l.epoch(), 1)
	if err := l.do(context.Background(), func(c *change) (bool, error) {
		l.Ack(c.state.epoch, 2) // after the change was begun
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the second ack", func(Stats) bool { return l.Streams()[0].Acked == 2 })
}

// The next welcome compares the fingerprint of the last acked number: a tombstone
// that ends there does not grow over it.
func TestRule8MergingKeepsTheFingerprintOfTheLastAck(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 1, DropNewest })
	l.put(1, 1)
	for range 2 {
		if err := l.Put(context.Background(), msg("x")); !errors.Is(err, ErrDropped) {
			t.Fatal(err)
		}
	}
	want := l.fp(3)
	l.welcome(storeA, wire.Match{})
	l.ack(3)
	l.put(4, 4)
	l.Put(context.Background(), msg("y"))
	if _, err := l.Drop(context.Background(), 4, 4, wire.ReasonOverflow); err != nil {
		t.Fatal(err)
	}
	if got := l.fp(3); got != want || want == 0 {
		t.Errorf("fingerprint %s of the last acked number, %s before", got, want)
	}
	l.ack(5)
	l.put(6, 6)
	l.Put(context.Background(), msg("z"))
	if n := len(l.snapshot().tombs); n > 3 {
		t.Errorf("%d tombstones: those below the last ack do not merge", n)
	}
}
