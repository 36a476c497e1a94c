package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// anotherBoot makes a folder look as after a restart of the machine: what is
// read now comes from the disk.
func anotherBoot(t testing.TB, dir string) {
	t.Helper()
	m, err := readMark(dir)
	must(t, err)
	m.boot = wire.NewID()
	must(t, os.WriteFile(filepath.Join(dir, markName), m.append(nil), 0o600))
}

// TestRule9CommitIsWholeOrNotAtAll cuts the journal at every byte of its last
// commit, which holds two entries: neither may be there without the other, and
// what came before is not harmed.
func TestRule9CommitIsWholeOrNotAtAll(t *testing.T) {
	for _, boot := range []string{"same boot", "after a power cut"} {
		dir := t.TempDir()
		j := openTest(t, Options{Dir: dir})
		c := newClient("pump-7")
		c.next = 8
		_, err := c.connect(j)
		must(t, err)
		must(t, c.send(j, 3))
		whole, err := readMark(dir) // the last commit that was ever answered
		must(t, err)
		before := j.tail.length
		_, err = j.Append(context.Background(), c.session, []collector.Append{
			{Stream: c.stream(), Entry: c.entry(4, 6), Time: testTime},
			{Stream: c.stream(), Entry: wire.Entry{From: 7, To: 7, Incarnation: c.history.At(7), Reason: wire.ReasonExpired, Time: testTime}, Time: testTime}})
		must(t, err)
		end := j.tail.length
		kill(t, j)
		must(t, os.WriteFile(filepath.Join(dir, markName), whole.append(nil), 0o600))
		if boot != "same boot" {
			anotherBoot(t, dir)
		}
		path := segmentPath(dir, 1)
		content, err := os.ReadFile(path)
		must(t, err)
		step := int64(1)
		if boot == "same boot" {
			step = 7 // the mark alone decides
		}
		for cut := end; cut >= before; cut -= step {
			torn := copyDir(t, dir)
			must(t, os.WriteFile(segmentPath(torn, 1), content[:cut], 0o600))
			want := wire.Seq(3)
			if cut == end {
				want = 7
			}
			r, err := OpenReader(torn)
			must(t, err)
			shown := len(bodies(t, r.Read)["pump-7"])
			if boot == "same boot" && shown != 3 || boot != "same boot" && shown != min(int(want), 6) {
				t.Errorf("%s, cut at %d: a reader shows %d messages", boot, cut-before, shown)
			}
			j := openTest(t, Options{Dir: torn, disk: fastDisk{}})
			d := *c
			m, err := d.connect(j)
			must(t, err)
			if m.W != want {
				t.Errorf("%s, cut at %d of %d: W is %d, want %d", boot, cut-before, end-before, m.W, want)
			}
			must(t, d.send(j, int(9-d.w)))
			must(t, j.Close())
			if r := audit(t, torn); !r.OK || r.Streams[0].W != 9 {
				t.Errorf("%s, cut at %d: %s", boot, cut-before, r.String())
			}
		}
	}
}

// TestRule5OpeningWritesTheLastCommitAgain: after a kill the last commit counts
// only where the new process has synced it.
func TestRule5OpeningWritesTheLastCommitAgain(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	_, err := c.connect(j)
	must(t, err)
	must(t, c.send(j, 2))
	before := j.tail.length
	must(t, c.send(j, 2))
	end := j.tail.length
	kill(t, j)
	j = openTest(t, Options{Dir: dir})
	h, err := readHead(segmentPath(dir, 2))
	must(t, err)
	if h.prev != 1 || h.prevLength != before || h.carried != end-before {
		t.Errorf("segment 2 says: segment %d up to %d, carried %d; want segment 1 up to %d, carried %d", h.prev, h.prevLength, h.carried, before, end-before)
	}
	old, err := os.ReadFile(segmentPath(dir, 1))
	must(t, err)
	again, err := os.ReadFile(segmentPath(dir, 2))
	must(t, err)
	if string(again[h.records():]) != string(old[before:end]) {
		t.Error("the last commit's bytes are not the same")
	}
	// The old tail may be anything now.
	must(t, os.WriteFile(segmentPath(dir, 1), append(old[:before], "lost in the page cache"...), 0o600))
	checkBodies(t, j, c)
	must(t, c.send(j, 2))
	must(t, j.Close())
	if r := audit(t, dir); !r.OK {
		t.Errorf("report: %s", r.String())
	}
	// Closed cleanly: no new segment. Opened and closed without a word: neither.
	for range 3 {
		j = openTest(t, Options{Dir: dir})
		if n := j.Stats().Segments; n != 2 {
			t.Errorf("%d segments, want 2", n)
		}
		checkBodies(t, j, c)
		must(t, j.Close())
	}
	// Opened and killed without a word: its segment is used again.
	j = openTest(t, Options{Dir: dir})
	must(t, c.sendAgain(j))
	for range 3 {
		kill(t, j)
		j = openTest(t, Options{Dir: dir})
		if n := j.Stats().Segments; n != 3 {
			t.Errorf("%d segments, want 3", n)
		}
		checkBodies(t, j, c)
	}
}

func (c *client) sendAgain(s collector.Store) error {
	if _, err := c.connect(s); err != nil {
		return err
	}
	return c.send(s, 1)
}

// TestRule5CleanMarkThatWasNotSyncedIsNotTrusted: the clean record's own fsync
// fails, so nobody has vouched for it.
func TestRule5CleanMarkThatWasNotSyncedIsNotTrusted(t *testing.T) {
	dir := t.TempDir()
	d := &faulty{fail: map[string]int{}}
	j := openTest(t, Options{Dir: dir, disk: d})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	d.fail["sync"] = 1
	if err := j.Close(); !errors.Is(err, errFault) {
		t.Errorf("close gives %v", err)
	}
	j = openTest(t, Options{Dir: dir})
	if n := j.Stats().Segments; n != 2 {
		t.Errorf("%d segments: the clean record is trusted", n)
	}
	checkBodies(t, j, c)
}

// TestRule5FailedStep fails each step of a commit once: the same commit goes into
// a new segment and the caller notices nothing. Failing twice, the caller is
// told that the outcome is unknown, nothing of it shows, and the journal goes on
// by itself when the fault ends.
func TestRule5FailedStep(t *testing.T) {
	for _, step := range []string{"write", "short write", "sync", "mark", "create", "rename", "syncdir", "open"} {
		for _, times := range []string{"once", "until healed"} {
			t.Run(step+" "+times, func(t *testing.T) {
				dir := t.TempDir()
				d := &faulty{fail: map[string]int{}, short: step == "short write"}
				size := int64(0)
				if step == "create" || step == "rename" || step == "syncdir" || step == "open" {
					size = 1 // a segment for each commit, so that every commit takes these steps
				}
				j := openTest(t, Options{Dir: dir, disk: d, SegmentSize: size})
				c := newClient("pump-7")
				must(t, c.sendAgain(j))
				name := step
				if d.short {
					name = "write"
				}
				if times == "once" {
					ordinal := j.tail.ordinal
					d.fail[name] = 1
					must(t, c.send(j, 2))
					if j.tail.ordinal == ordinal {
						t.Error("after a fault the same file was written again")
					}
				} else {
					d.fail[name] = -1
					for range 3 {
						w := c.w
						if err := c.send(j, 2); !errors.Is(err, errFault) {
							t.Fatalf("append gives %v", err)
						}
						if c.w != w {
							t.Fatal("W moved")
						}
						checkBodies(t, j, c)
						if got := j.agent(c.id).Stream(wire.DefaultLane, c.epoch).W; got != w {
							t.Errorf("the state shows W %d, want %d", got, w)
						}
					}
					delete(d.fail, name)
					must(t, c.send(j, 2))
				}
				must(t, c.send(j, 3))
				checkBodies(t, j, c)
				must(t, j.Close())
				if r := audit(t, dir); !r.OK {
					t.Errorf("report: %s", r.String())
				}
				j = openTest(t, Options{Dir: dir})
				m, err := c.connect(j)
				must(t, err)
				if m.W != c.w {
					t.Errorf("W is %d after opening again, want %d", m.W, c.w)
				}
				checkBodies(t, j, c)
			})
		}
	}
}

// TestRule5FailedThenKilled kills the process right after a commit whose outcome
// is unknown: it may count or not, but W, the records and the ledger agree.
func TestRule5FailedThenKilled(t *testing.T) {
	outcomes := map[wire.Seq]int{}
	for _, step := range []string{"write", "sync", "mark", "create", "rename", "syncdir", "open"} {
		dir := t.TempDir()
		d := &faulty{fail: map[string]int{}, short: true}
		j := openTest(t, Options{Dir: dir, disk: d})
		c := newClient("pump-7")
		must(t, c.sendAgain(j))
		d.fail[step] = -1
		if step != "mark" && step != "write" {
			d.fail["sync"] = 1 // so that the second try needs a new segment
		}
		if err := c.send(j, 2); !errors.Is(err, errFault) && step != "sync" {
			t.Fatalf("%s: append gives %v", step, err)
		}
		kill(t, j)
		j = openTest(t, Options{Dir: dir})
		m, err := c.connect(j)
		must(t, err)
		if m.W != 1 && m.W != 3 {
			t.Errorf("%s: W is %d, want 1 or 3", step, m.W)
		}
		outcomes[m.W]++
		must(t, c.send(j, 2))
		checkBodies(t, j, c)
		must(t, j.Close())
		if r := audit(t, dir); !r.OK {
			t.Errorf("%s: %s", step, r.String())
		}
	}
	if len(outcomes) != 2 {
		t.Errorf("outcomes by W: %v; want both", outcomes)
	}
}

// TestOpenOnAFullDisk: the disk takes nothing when the journal is opened after a
// crash; it opens, refuses, and goes on when there is room.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	must(t, c.send(j, 2))
	kill(t, j)
	d := &faulty{fail: map[string]int{"create": -1}}
	j = openTest(t, Options{Dir: dir, disk: d})
	for range 2 {
		if _, err := c.connect(j); !errors.Is(err, errFault) {
			t.Errorf("hello gives %v", err)
		}
	}
	checkBodies(t, j, c)
	delete(d.fail, "create")
	m, err := c.connect(j)
	must(t, err)
	if m.W != 3 {
		t.Errorf("W is %d, want 3", m.W)
	}
	must(t, c.send(j, 2))
	checkBodies(t, j, c)
	must(t, j.Close())
	if r := audit(t, dir); !r.OK {
		t.Errorf("report: %s", r.String())
	}
}

// TestRule6ReadersSeeOnlyWhatIsSynced looks at the journal while the write is
// done and its fsync is not.
func TestRule6ReadersSeeOnlyWhatIsSynced(t *testing.T) {
	dir := t.TempDir()
	d := &faulty{fail: map[string]int{}}
	g := &gate{faulty: d, reached: make(chan struct{}), pass: make(chan struct{})}
	j := openTest(t, Options{Dir: dir, disk: g})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	g.armed.Store(true)
	done := make(chan error)
	go func() { d := *c; done <- d.send(j, 2) }()
	<-g.reached
	r, err := OpenReader(dir)
	must(t, err)
	for what, read := range map[string]func(context.Context, collector.Cursor, func(collector.Stored) error) (collector.Cursor, error){"the journal": j.Read, "a reader": r.Read} {
		if n := len(bodies(t, read)["pump-7"]); n != 1 {
			t.Errorf("%s shows %d messages before the fsync, want 1", what, n)
		}
	}
	if w := j.agent(c.id).Stream(wire.DefaultLane, c.epoch).W; w != 1 {
		t.Errorf("W is %d before the fsync", w)
	}
	if rep := audit(t, dir); !rep.OK || rep.Streams[0].W != 1 {
		t.Errorf("audit before the fsync: W %d, %s", rep.Streams[0].W, rep.String())
	}
	info, err := os.Stat(segmentPath(dir, 1))
	must(t, err)
	m, err := readMark(dir)
	must(t, err)
	if info.Size() <= m.length {
		t.Error("nothing was written yet: the test proves nothing")
	}
	close(g.pass)
	must(t, <-done)
	if n := len(bodies(t, r.Read)["pump-7"]); n != 3 {
		t.Errorf("after the fsync a reader shows %d messages, want 3", n)
	}
}

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
