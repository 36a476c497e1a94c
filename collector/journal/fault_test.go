package journal

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

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
