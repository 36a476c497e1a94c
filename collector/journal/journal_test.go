package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/wire"
)

// openTest opens a journal that is closed with the test.
func openTest(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// TestStore runs the suite over segments of several sizes: rotation must not
// show.
func TestStore(t *testing.T) {
	for name, size := range map[string]int64{"one segment": 0, "small segments": 6 << 10, "a segment for each commit": 1} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, storetest.Hooks{
				Open: func(t *testing.T) collector.Store {
					return openTest(t, Options{Dir: t.TempDir(), SegmentSize: size, ride: 20 * time.Millisecond})
				},
				Reopen: func(t *testing.T, s collector.Store) collector.Store {
					j := s.(*Journal)
					if err := j.Close(); err != nil {
						t.Fatal(err)
					}
					return openTest(t, Options{Dir: j.opts.Dir, SegmentSize: size, ride: 20 * time.Millisecond})
				},
			})
		})
	}
}

func TestFolderIsLocked(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir, Logger: quiet}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second open gives %v", err)
	}
	must(t, newClient("pump-7").sendAgain(j))
	r, err := OpenReader(dir)
	must(t, err)
	if got := bodies(t, r.Read); len(got["pump-7"]) != 1 {
		t.Errorf("a reader beside it sees %v", got)
	}
	known, err := r.Agents(context.Background())
	must(t, err)
	if len(known) != 1 || known[0].Agent != "pump-7" {
		t.Errorf("a reader beside it knows %+v", known)
	}
	must(t, j.Close())
	must(t, openTest(t, Options{Dir: dir}).Close())
}

func TestNoJournal(t *testing.T) {
	dir := t.TempDir()
	for what, err := range map[string]error{"an empty folder": readErr(dir), "no folder": readErr(filepath.Join(dir, "none"))} {
		if !errors.Is(err, ErrNone) {
			t.Errorf("%s gives %v", what, err)
		}
	}
	if _, err := Audit(context.Background(), dir); !errors.Is(err, ErrNone) {
		t.Errorf("audit gives %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("a reader has made %v, %v", names, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, identityName), []byte("not json"), 0o600))
	if err := openErr(dir); err == nil || !strings.Contains(err.Error(), identityName) {
		t.Errorf("a store.json that is none gives %v", err)
	}
}

func TestClosed(t *testing.T) {
	j := openTest(t, Options{Dir: t.TempDir()})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	must(t, j.Close())
	if err := c.send(j, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("append gives %v", err)
	}
	if _, err := j.Read(context.Background(), "", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("read gives %v", err)
	}
	if err := j.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("close gives %v", err)
	}
}

// TestRule4Identity: the id is the folder's, and what it replaces is kept.
func TestRule4Identity(t *testing.T) {
	dir := t.TempDir()
	old := wire.StoreID{ID: wire.NewID()}
	j := openTest(t, Options{Dir: dir, Replaces: []wire.StoreID{old}})
	id := j.Identity()
	must(t, j.Close())
	j = openTest(t, Options{Dir: dir, Replaces: []wire.StoreID{old, id.ID}, ReplacesAny: true})
	must(t, j.Close())
	j = openTest(t, Options{Dir: dir})
	want := collector.Identity{ID: id.ID, Replaces: []wire.StoreID{old}, ReplacesAny: true}
	if got := j.Identity(); !reflect.DeepEqual(got, want) {
		t.Errorf("identity is %+v, want %+v", got, want)
	}
	must(t, j.Close())
	must(t, os.Remove(filepath.Join(dir, identityName)))
	r, err := OpenReader(dir)
	must(t, err)
	if r.Identity().ID != id.ID {
		t.Error("a reader without store.json takes another id than the segments'")
	}
	if j = openTest(t, Options{Dir: dir}); j.Identity().ID != id.ID {
		t.Error("without store.json the id is another one")
	}
	if other := openTest(t, Options{Dir: t.TempDir()}); other.Identity().ID == id.ID {
		t.Error("two folders have one id")
	}
}

// TestGroupCommit holds the disk back while many sessions append: they share the
// next commit.
func TestGroupCommit(t *testing.T) {
	g := &gate{faulty: &faulty{fail: map[string]int{}}, reached: make(chan struct{}), pass: make(chan struct{})}
	j := openTest(t, Options{Dir: t.TempDir(), disk: g})
	const agents = 20
	var clients []*client
	for i := range agents {
		c := newClient(fmt.Sprintf("pump-%d", i))
		c.next = 10
		_, err := c.connect(j)
		must(t, err)
		clients = append(clients, c)
	}
	before := j.Stats()
	g.armed.Store(true)
	var wg sync.WaitGroup
	errs := make([]error, agents)
	wg.Go(func() { errs[0] = clients[0].send(j, 1) })
	<-g.reached
	for i := 1; i < agents; i++ {
		wg.Go(func() { errs[i] = clients[i].send(j, 1) })
	}
	for n, _ := j.waiting(); n < agents-1; n, _ = j.waiting() {
		time.Sleep(time.Millisecond)
	}
	// One who gives up before the writer has taken it is not stored.
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	late := newClient("late")
	go func() {
		_, err := j.Hello(ctx, collector.Hello{Hello: wire.Hello{Agent: late.id}, Time: testTime})
		gone <- err
	}()
	for n, _ := j.waiting(); n < agents; n, _ = j.waiting() {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up is told %v", err)
	}
	close(g.pass)
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("append %d: %v", i, err)
		}
	}
	if s := j.Stats(); s.Syncs.Count-before.Syncs.Count != 2 || s.Commits-before.Commits != 2 || s.Records-before.Records != agents {
		t.Errorf("%d syncs, %d commits, %d records; want 2, 2 and %d", s.Syncs.Count-before.Syncs.Count, s.Commits-before.Commits, s.Records-before.Records, agents)
	}
	checkBodies(t, j, clients...)
	if a := j.agent(late.id); a.Session().Number != 0 {
		t.Error("a hello that was withdrawn was granted")
	}
}

// TestRidersTimeOut: what rides along is written by itself after a while, with
// the clock of a bubble.
func TestRidersTimeOut(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := openTest(t, Options{Dir: dir})
		defer j.Close()
		c := newClient("pump-7")
		c.next = 5
		if _, err := c.connect(j); err != nil {
			t.Fatal(err)
		}
		before := j.Stats().Commits
		must(t, j.Announce(context.Background(), c.session, []collector.Announcement{{Stream: c.stream(), Next: 9}}))
		must(t, j.Announce(context.Background(), c.session, []collector.Announcement{{Stream: c.stream(), Next: 9}}))
		synctest.Wait()
		if n := j.Stats().Commits; n != before {
			t.Errorf("an announcement was written at once")
		}
		time.Sleep(rideDelay)
		synctest.Wait()
		if n := j.Stats().Commits; n != before+1 || j.agent(c.id).Backlog() != 8 {
			t.Errorf("after %s: %d commits, backlog %d", rideDelay, n-before, j.agent(c.id).Backlog())
		}
		// With a commit it goes at once.
		must(t, j.Announce(context.Background(), c.session, []collector.Announcement{{Stream: c.stream(), Next: 12}}))
		must(t, c.send(j, 1))
		if n := j.agent(c.id).Backlog(); n != 10 {
			t.Errorf("backlog %d, want 10", n)
		}
	})
}

// TestRidersOutliveAFault: an announcement whose commit failed is written with a
// later one.
func TestRidersOutliveAFault(t *testing.T) {
	d := &faulty{fail: map[string]int{}}
	j := openTest(t, Options{Dir: t.TempDir(), disk: d})
	c := newClient("pump-7")
	c.next = 5
	_, err := c.connect(j)
	must(t, err)
	must(t, j.Announce(context.Background(), c.session, []collector.Announcement{{Stream: c.stream(), Next: 9}}))
	d.fail["write"] = -1
	if err := c.send(j, 1); !errors.Is(err, errFault) {
		t.Fatalf("append gives %v", err)
	}
	delete(d.fail, "write")
	must(t, c.send(j, 1))
	if n := j.agent(c.id).Backlog(); n != 7 {
		t.Errorf("backlog %d, want 7", n)
	}
}

// TestReadInBoundedMemory reads a journal of many segments whose batches are
// large, and looks at what is allocated.
func TestReadInBoundedMemory(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 8 << 20, disk: fastDisk{}})
	c := newClient("pump-7")
	_, err := c.connect(j)
	must(t, err)
	body := bytes.Repeat([]byte("x"), 256<<10)
	const entries = 120
	for n := wire.Seq(1); n <= entries; n++ {
		record, err := wire.AppendRecord(nil, &wire.Message{Time: testTime, Body: body})
		must(t, err)
		b := wire.AppendBatch(nil, wire.BatchHeader{Lane: wire.DefaultLane, Epoch: c.epoch, Incarnation: c.history.At(1), First: n, Count: 1}, record)
		_, err = j.Append(context.Background(), c.session, []collector.Append{{Stream: c.stream(), Entry: wire.Entry{From: n, To: n, Incarnation: c.history.At(1), Batch: b}, Time: testTime}})
		must(t, err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	_, err = j.Read(context.Background(), "", func(collector.Stored) error { n++; return nil })
	must(t, err)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; n != entries || got > 8<<20 {
		t.Errorf("%d entries of %d KiB were read with %d KiB allocated", n, len(body)>>10, got>>10)
	}
}

// TestReaderAfterPowerCut: in another boot the mark does not bound what is shown:
// all whole commits are on the disk.
func TestReaderAfterPowerCut(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	early, err := readMark(dir)
	must(t, err)
	must(t, c.send(j, 2))
	kill(t, j)
	r, err := OpenReader(dir)
	must(t, err)
	early.boot = bootID()
	must(t, os.WriteFile(filepath.Join(dir, markName), early.append(nil), 0o600))
	if n := len(bodies(t, r.Read)["pump-7"]); n != 1 {
		t.Errorf("the mark says 1, %d are shown", n)
	}
	anotherBoot(t, dir)
	if n := len(bodies(t, r.Read)["pump-7"]); n != 3 {
		t.Errorf("after a power cut %d are shown, want 3", n)
	}
	must(t, os.Remove(filepath.Join(dir, markName)))
	if n := len(bodies(t, r.Read)["pump-7"]); n != 3 {
		t.Errorf("without a mark %d are shown, want 3", n)
	}
}
