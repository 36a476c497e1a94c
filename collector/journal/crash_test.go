package journal

import (
	"context"
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
