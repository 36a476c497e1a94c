package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// TestRule7SegmentsCarryTheMemory removes all segments but the newest: what
// protects against doubles and forks is all still there.
func TestRule7SegmentsCarryTheMemory(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	for range 5 { // incarnations
		c.history = c.history.Begin(wire.Incarnation{ID: wire.NewID()}, c.next)
		must(t, c.sendAgain(j))
		for range 4 {
			must(t, c.send(j, 2))
		}
	}
	other := newClient("pump-8")
	for range 12 {
		must(t, other.sendAgain(j))
	}
	must(t, j.Close())
	ordinals, err := listSegments(dir)
	must(t, err)
	for _, n := range ordinals[:len(ordinals)-1] {
		must(t, os.Remove(segmentPath(dir, n)))
	}
	t.Logf("%d of %d segments removed", len(ordinals)-1, len(ordinals))
	j = openTest(t, Options{Dir: dir})
	// A clone that stands at the end of each older incarnation is still told apart.
	for i, b := range c.history[1:] {
		clone := *c
		clone.next = b.First
		clone.history = c.history.Upto(b.First-1).Begin(wire.Incarnation{ID: wire.NewID()}, b.First)
		clone.next++
		g, err := j.Hello(context.Background(), collector.Hello{Hello: wire.Hello{Agent: c.id, Streams: 1}, Streams: []wire.StreamState{clone.state()}, Time: testTime})
		must(t, err)
		entry := c.entry(b.First-1, b.First-1)
		batch, err := entry.Check()
		must(t, err)
		want := wire.Match{Found: true, Epoch: c.epoch, W: c.w, Common: b.First - 1, FPCommon: batch.Fingerprint(b.First - 1)}
		clone.w = 0
		if got := g.Matches[0]; got.Found != want.Found || got.W != want.W || got.Common != want.Common || got.FPCommon != want.FPCommon {
			t.Errorf("incarnation %d: %+v, want %+v", i, got, want)
		}
	}
	m, err := c.connect(j)
	must(t, err)
	if m.W != c.w {
		t.Errorf("W is %d, want %d", m.W, c.w)
	}
	must(t, c.send(j, 2))
	known, err := j.Agents(context.Background())
	must(t, err)
	if len(known) != 2 {
		t.Errorf("%d agents known, want 2", len(known))
	}
	// Nobody declared the segments as not needed: their records are missing.
	if r := audit(t, dir); r.OK {
		t.Error("the audit is content without the older segments")
	}
}

// TestRule7DamageNeverLowersW hurts each record of a journal in turn, also the
// heads of segments, and opens it.
func TestRule7DamageNeverLowersW(t *testing.T) {
	dir := smallJournal(t, false)
	r, err := OpenReader(dir)
	must(t, err)
	state, err := r.state(context.Background())
	must(t, err)
	records := listRecords(t, dir)
	last := len(records) - 1
	ordinals, err := listSegments(dir)
	must(t, err)
	for _, n := range ordinals {
		h, err := readHead(segmentPath(dir, n))
		must(t, err)
		records = append(records, placed{file: segmentName(n), off: 8, end: 100}, placed{file: segmentName(n), off: headSize, end: h.records()})
	}
	for _, p := range records {
		what := fmt.Sprintf("%s at %d, kind %d", p.file, p.off, p.kind)
		hurt := copyDir(t, dir)
		path := filepath.Join(hurt, p.file)
		content, err := os.ReadFile(path)
		must(t, err)
		for i := p.off; i < min(p.end, p.off+20); i++ {
			content[i] ^= 0x55
		}
		must(t, os.WriteFile(path, content, 0o600))
		rep := audit(t, hurt)
		if rep.OK {
			t.Errorf("%s: the audit is content", what)
		}
		j := openTest(t, Options{Dir: hurt, disk: fastDisk{}})
		for id, a := range state {
			for _, s := range a.Streams() {
				got := j.agent(id).Stream(s.Lane, s.Epoch)
				if p == records[last] && s.W == p.event.(*settled).entry.To {
					continue // the journal's last commit is its tail: the agent is told, rule 3
				}
				if got == nil || got.W < s.W {
					t.Errorf("%s: %s is at %+v, was at W %d", what, id, got, s.W)
				}
			}
		}
		kill(t, j)
	}
}

// TestLostTailIsSentAgain: the journal's end was synced and is gone. The agent is
// told the lower W, sends again, and indexes that readers have seen are not used
// for other records.
func TestLostTailIsSentAgain(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	before := j.tail.length
	must(t, c.send(j, 2))
	seen, err := j.Read(context.Background(), "", func(collector.Stored) error { return nil })
	must(t, err)
	kill(t, j)
	must(t, os.Truncate(segmentPath(dir, 1), before))
	if r := audit(t, dir); r.OK || !r.finds(KindMissing, c, 2, 3) {
		t.Errorf("before it is opened: %s", r.String())
	}
	j = openTest(t, Options{Dir: dir})
	if r := audit(t, dir); r.OK || !r.finds(KindMissing, c, 2, 3) {
		t.Errorf("after it is opened: %s", r.String())
	}
	m, err := c.connect(j)
	must(t, err)
	if m.W != 1 {
		t.Fatalf("W is %d, want 1", m.W)
	}
	must(t, c.send(j, 2))
	checkBodies(t, j, c)
	n := 0
	if _, err := j.Read(context.Background(), seen, func(collector.Stored) error { n++; return nil }); err != nil && !errors.Is(err, ErrDamaged) || n != 1 {
		t.Errorf("behind the old end come %d entries, want 1: %v", n, err)
	}
	if r := audit(t, dir); r.OK || r.finds(KindMissing, c, 2, 3) || r.Streams[0].Unexplained != 0 || r.Streams[0].Stored != 3 {
		t.Errorf("after all was sent again: %s", r.String())
	}
}

func (r *Report) finds(kind Kind, c *client, from, to wire.Seq) bool {
	for _, f := range r.Findings {
		if f.Kind == kind && f.Agent == c.id && f.From == from && f.To == to {
			return true
		}
	}
	return false
}

// TestRule7AMemoryThatCannotBeReadIsNotDamaged: an error of the disk where the
// newest segment's head or snapshot lies is returned; nothing older takes their
// place, and nothing is called damaged. A folder stands in for a file that gives
// no bytes.
func TestRule7AMemoryThatCannotBeReadIsNotDamaged(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10})
	c := newClient("pump-7")
	for range 12 {
		must(t, c.sendAgain(j))
	}
	chain := slices.Clone(j.chain)
	must(t, j.Close())
	newest := &chain[len(chain)-1]
	good := *newest
	if len(chain) < 2 {
		t.Fatalf("%d segments", len(chain))
	}
	for name, spoil := range map[string]func(){
		"head":     func() { newest.headErr = &fs.PathError{Op: "read", Path: good.path, Err: errors.New("no bytes")} },
		"snapshot": func() { newest.path = t.TempDir() },
	} {
		*newest = good
		spoil()
		r := replayer{seed: j.seed}
		r.damage = func(path string, off int64, cause error) {
			t.Errorf("%s: %s is called damaged at %d: %v", name, path, off, cause)
		}
		if err := r.run(chain); !unreadable(err) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := findTail(t.TempDir(), j.identity.Store, vouch{}); !unreadable(err) {
		t.Errorf("tail: error %v", err)
	}
}

// TestRule7AJournalWithoutItsMemoryDoesNotOpen: retention has left one segment, and
// its head is damaged. A store that went on would take again what it has.
func TestRule7AJournalWithoutItsMemoryDoesNotOpen(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	old, c := newClient("pump-6"), newClient("pump-7")
	must(t, old.sendAgain(j))
	for range 12 {
		must(t, c.sendAgain(j))
	}
	must(t, j.Close())
	ordinals, err := listSegments(dir)
	must(t, err)
	newest := ordinals[len(ordinals)-1]
	h, err := readHead(segmentPath(dir, newest))
	must(t, err)
	for _, n := range ordinals[:len(ordinals)-1] {
		must(t, os.Remove(segmentPath(dir, n)))
	}
	must(t, writeRemoval(osDisk{}, dir, j.identity.Store, &removal{times: 1, ordinal: newest - 1, index: h.first - 1, at: testTime}))
	b, err := os.ReadFile(segmentPath(dir, newest))
	must(t, err)
	clear(b[headSize : headSize+20])
	must(t, os.WriteFile(segmentPath(dir, newest), b, 0o600))
	if j, err := Open(Options{Dir: dir, Logger: quiet}); !errors.Is(err, ErrMemory) {
		t.Errorf("open gives %v", err)
		if err == nil {
			j.Close()
		}
		return
	}
	// The next step that it names: a new store that replaces this one, which stays
	// readable.
	r, err := Repair(context.Background(), dir, true)
	must(t, err)
	if r.NewStore.IsZero() || r.Store != j.identity.Store {
		t.Fatalf("repair %+v", r)
	}
	j = openTest(t, Options{Dir: dir})
	if id := j.Identity(); id.ID != r.NewStore || !slices.Contains(id.Replaces, r.Store) {
		t.Errorf("identity %+v", id)
	}
}
