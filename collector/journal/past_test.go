package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// A folder that a later version has written is refused, and nothing in it is touched.
func TestALaterFormatIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	must(t, newClient("pump-7").sendAgain(j))
	must(t, j.Close())
	later := []byte(fmt.Sprintf(`{"format":%d,"what":"this version does not know"}`, FolderFormat+1))
	must(t, os.WriteFile(filepath.Join(dir, identityName), later, 0o600))
	before := contents(t, dir)
	if j, err := Open(Options{Dir: dir}); !errors.Is(err, ErrNewer) {
		if err == nil {
			j.Close()
		}
		t.Errorf("opened: %v", err)
	}
	if after := contents(t, dir); !maps.Equal(before, after) {
		t.Errorf("the folder was\n%q\nand is\n%q", before, after)
	}
}

// contents returns the files of a folder with what they hold.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range list {
		if e.Name() == "lock" || e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		files[e.Name()] = string(b)
	}
	return files
}

// TestVersion1 opens a folder that the first version of the format wrote, and goes
// on with it.
func TestVersion1(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/v1")))
	if r := audit(t, dir); !r.OK || r.Streams[0].Stored != 8 {
		t.Fatalf("before it is opened: %s", r.String())
	}
	j := openTest(t, Options{Dir: dir})
	if f, err := readIdentity(dir); err != nil || f.Format != FolderFormat {
		t.Errorf("store.json has format %d, %v", f.Format, err)
	}
	if s := j.agent("pump-7").Streams(); len(s) != 1 || s[0].W != 8 {
		t.Errorf("streams %+v", s)
	}
	c := newClient("pump-8")
	must(t, c.sendAgain(j))
	j.mu.Lock()
	j.opts.SegmentSize = 1
	j.mu.Unlock()
	must(t, c.send(j, 1))
	must(t, j.Close())
	if r := audit(t, dir); !r.OK || r.Segments < 3 {
		t.Errorf("after it: %s", r.String())
	}
	if v, err := Verify(context.Background(), dir, nil); err != nil || !v.OK {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// TestVersion2 does the same with a folder of the second version, in which an
// operator has accepted numbers.
func TestVersion2(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/v2")))
	if r := audit(t, dir); !r.OK || len(r.Closings) != 1 {
		t.Fatalf("before it is opened: %s", r.String())
	}
	j := openTest(t, Options{Dir: dir, SegmentSize: 1})
	if f, err := readIdentity(dir); err != nil || f.Format != FolderFormat {
		t.Errorf("store.json has format %d, %v", f.Format, err)
	}
	must(t, newClient("pump-8").sendAgain(j))
	must(t, j.Forget(context.Background(), "pump-7", ledger.Forgotten{Time: testTime, By: "root"}))
	must(t, newClient("pump-9").sendAgain(j))
	must(t, j.Close())
	if r := audit(t, dir); !r.OK || len(r.Forgotten) != 1 {
		t.Errorf("after it: %s", r.String())
	}
}

// loseFolder lets a client announce 10 numbers, store 4, and come back with an
// empty folder.
func loseFolder(t *testing.T, j *Journal) (lost, now *client) {
	t.Helper()
	c := newClient("pump-7")
	c.next = 11
	_, err := c.connect(j)
	must(t, err)
	must(t, c.send(j, 4))
	fresh := newClient("pump-7")
	fresh.next = 3
	_, err = fresh.connect(j)
	must(t, err)
	must(t, fresh.send(j, 2))
	return c, fresh
}

func unexplained(c *client, from, to wire.Seq) ledger.Accepted {
	return ledger.Accepted{Claim: ledger.ClaimUnexplained, Lane: wire.DefaultLane, Incarnation: c.history.At(from), From: from, To: to}
}

// TestRule11AcceptedNumbersStayAccepted: over a restart, new segments, retention
// and a backup; and what is lost later is unexplained again.
func TestRule11AcceptedNumbersStayAccepted(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	c, fresh := loseFolder(t, j)
	if r := audit(t, dir); r.OK {
		t.Fatalf("nothing is unexplained: %s", r.String())
	}
	ctx := context.Background()
	done, err := j.Accept(ctx, c.id, ledger.Closing{Time: testTime, By: "root", Reason: "the disk burned", Ranges: []ledger.Accepted{unexplained(c, 1, 100)}})
	if err != nil || len(done.Ranges) != 1 || done.Ranges[0].From != 5 || done.Ranges[0].To != 10 {
		t.Fatalf("accepted %+v, %v", done, err)
	}
	holds := func(what string) {
		t.Helper()
		if r := audit(t, dir); !r.OK {
			t.Errorf("%s: %s", what, r.String())
		}
	}
	holds("beside the collector")
	for range 5 {
		must(t, fresh.send(j, 1))
	}
	holds("behind new segments")
	kill(t, j)
	j = openTest(t, Options{Dir: dir, SegmentSize: 1 << 10, MaxBytes: 1})
	for range 5 {
		must(t, fresh.sendAgain(j))
	}
	for n := 0; len(mustList(t, dir)) > 1; n++ {
		if n == 1000 {
			t.Fatalf("retention leaves %v", mustList(t, dir))
		}
		time.Sleep(10 * time.Millisecond)
	}
	holds("after retention")
	must(t, j.Close())
	copied := t.TempDir() + "/copy"
	if _, err := Backup(ctx, dir, copied, nil, nil); err != nil {
		t.Fatal(err)
	}
	dir = copied
	holds("a backup")
	j = openTest(t, Options{Dir: dir})
	p, err := j.Pasts(ctx, c.id)
	must(t, err)
	if len(p) != 1 || len(p[0].Closings) != 1 || p[0].Closings[0].By != "root" || p[0].Closings[0].Reason != "the disk burned" || !p[0].Closings[0].Time.Equal(testTime) {
		t.Errorf("past %+v", p)
	}
	// It is lost once more.
	fresh.next += 5
	_, err = fresh.connect(j)
	must(t, err)
	again := newClient("pump-7")
	_, err = again.connect(j)
	must(t, err)
	if r := audit(t, dir); r.OK {
		t.Errorf("numbers that were lost later are accepted: %s", r.String())
	}
}

func mustList(t *testing.T, dir string) []uint64 {
	t.Helper()
	list, err := listSegments(dir)
	must(t, err)
	return list
}

// TestIncidentsAreKeptAndLogged: what the ledger notices is in the log with the
// next step, survives segments, and audit replays it to the same bytes.
func TestIncidentsAreKeptAndLogged(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	j := openTest(t, Options{Dir: dir, SegmentSize: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c, fresh := loseFolder(t, j)
	hello := func(instance byte) {
		t.Helper()
		_, err := j.Hello(context.Background(), collector.Hello{Hello: wire.Hello{Agent: c.id, Instance: wire.Instance{ID: wire.ID{instance}}}, Time: testTime})
		must(t, err)
	}
	hello(2)
	hello(3)
	hello(2)
	must(t, fresh.sendAgain(j))
	must(t, j.Close())
	for _, want := range []string{"incident=new-folder", "incident=duplicate-identity", "find the clone", "agent=pump-7"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	if r := audit(t, dir); len(r.Findings) != 1 {
		t.Errorf("want the unexplained numbers and nothing else: %s", r.String())
	}
	r, err := OpenReader(dir)
	must(t, err)
	p, err := r.Pasts(context.Background(), "")
	must(t, err)
	b, err := json.Marshal(p[0].Incidents)
	must(t, err)
	if len(p) != 1 || p[0].Noted != 3 || !strings.Contains(string(b), `"kind":"new-folder"`) { // 2, 3, 2, and then 1 again
		t.Errorf("past %+v\n%s", p, b)
	}
}

func TestStoreBehindIsNoted(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	must(t, j.Close())
	old := copyDir(t, dir)
	j = openTest(t, Options{Dir: dir})
	must(t, c.sendAgain(j))
	must(t, c.send(j, 5))
	must(t, j.Close())
	j = openTest(t, Options{Dir: old})
	_, err := c.connect(j)
	must(t, err)
	p, err := j.Pasts(context.Background(), c.id)
	must(t, err)
	if len(p[0].Incidents) != 1 || p[0].Incidents[0].Kind != ledger.IncidentStoreBehind || p[0].Incidents[0].From != 2 || p[0].Incidents[0].To != 7 {
		t.Errorf("incidents %+v", p[0].Incidents)
	}
	if r := audit(t, old); len(r.Findings) > 0 {
		t.Errorf("the audit says %s", r.String())
	}
}
