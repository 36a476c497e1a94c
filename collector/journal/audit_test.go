package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// smallJournal makes a journal of three agents in several segments and leaves it
// closed cleanly or killed.
func smallJournal(t *testing.T, clean bool) (dir string) {
	dir = t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 3 << 10})
	var clients []*client
	for _, id := range []string{"pump-7", "pump-8", "pump-9"} {
		c := newClient(id)
		c.next = 4
		if _, err := c.connect(j); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	for i := range 6 {
		for _, c := range clients {
			must(t, c.send(j, 1+i%3))
		}
	}
	// The last number of one stream lies far from the journal's end.
	for range 4 {
		must(t, clients[1].send(j, 2))
	}
	if clean {
		must(t, j.Close())
	} else {
		kill(t, j)
	}
	return dir
}

// TestRule11EveryRecordRemovedOrRepeatedIsFound takes each record of a journal
// away, and doubles each, and looks whether audit sees it and names the numbers.
func TestRule11EveryRecordRemovedOrRepeatedIsFound(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := smallJournal(t, clean)
		if r := audit(t, dir); !r.OK {
			t.Fatalf("an untouched journal: %s", r.String())
		}
		records := listRecords(t, dir)
		entries := 0
		for i, p := range records {
			content, err := os.ReadFile(filepath.Join(dir, p.file))
			must(t, err)
			for _, repeat := range []bool{false, true} {
				what := fmt.Sprintf("clean %v, record %d of %d, kind %d, repeat %v", clean, i+1, len(records), p.kind, repeat)
				hurt := copyDir(t, dir)
				changed := append(append([]byte(nil), content[:p.off]...), content[p.end:]...)
				if repeat {
					changed = append(append([]byte(nil), content[:p.end]...), content[p.off:]...)
				}
				must(t, os.WriteFile(filepath.Join(hurt, p.file), changed, 0o600))
				r := audit(t, hurt)
				if r.OK {
					t.Errorf("%s: the audit is content", what)
				}
				v, ok := p.event.(*settled)
				if !ok {
					continue
				}
				entries++
				kind := KindMissing
				if repeat {
					kind = KindDoubled
				}
				if !names(&r, kind, v) {
					t.Errorf("%s: numbers %d to %d of %s are not named: %s", what, v.entry.From, v.entry.To, v.id, r.String())
				}
			}
		}
		t.Logf("clean %v: %d records, %d cases with numbers", clean, len(records), entries)
	}
}

// A killed journal's last commit stands in its file and, written again, in the
// next one. What is repeated behind that void tail is found all the same.
func TestRule11RepeatedBehindAVoidTailIsFound(t *testing.T) {
	dir := smallJournal(t, false)
	j := openTest(t, Options{Dir: dir})
	must(t, j.Close())
	if r := audit(t, dir); !r.OK {
		t.Fatalf("an untouched journal: %s", r.String())
	}
	records := listRecords(t, dir)
	for i := range 2 { // of the newest file and the killed one
		ordinals, err := listSegments(dir)
		must(t, err)
		name := segmentName(ordinals[len(ordinals)-1-i])
		for _, p := range records {
			v, ok := p.event.(*settled)
			if !ok {
				continue
			}
			from, err := os.ReadFile(filepath.Join(dir, p.file))
			must(t, err)
			to, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			hurt := copyDir(t, dir)
			must(t, os.WriteFile(filepath.Join(hurt, name), append(to, from[p.off:p.end]...), 0o600))
			r := audit(t, hurt)
			void := i == 1 && p.file == segmentName(ordinals[len(ordinals)-1])
			if void { // a copy of the last commit behind the last commit: void as well
				continue
			}
			if r.OK || !names(&r, KindDoubled, v) {
				t.Errorf("numbers %d to %d of %s, repeated at the end of %s, are not named: %s", v.entry.From, v.entry.To, v.id, name, r.String())
			}
		}
	}
}

// Beside a collector the audit looks at one moment: a segment that is begun while
// it looks is no gap.
func TestAuditBesideASegmentThatIsBegun(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 1 << 10, disk: fastDisk{}})
	defer j.Close()
	c := newClient("pump-7")
	_, err := c.connect(j)
	must(t, err)
	// A few segments begin within each audit, and not so many that reading them
	// all takes ever longer.
	bursts, done := make(chan int), make(chan error, 1)
	go func() {
		defer close(done)
		for n := range bursts {
			for range n {
				if err := c.send(j, 1); err != nil && len(done) == 0 {
					done <- err
				}
			}
		}
	}()
	for range 40 {
		bursts <- 10
		if r := audit(t, dir); !r.OK {
			t.Errorf("report: %s", r.String())
			break
		}
	}
	close(bursts)
	must(t, <-done)
}

func names(r *Report, kind Kind, v *settled) bool {
	for _, f := range r.Findings {
		if f.Kind == kind && f.Agent == v.id && f.Epoch == v.stream.Epoch && f.From <= v.entry.From && f.To >= v.entry.To && f.File != "" {
			return true
		}
	}
	return false
}

// TestAuditFindsEveryFlippedByte flips one bit in every byte of a small journal's
// segments.
func TestAuditFindsEveryFlippedByte(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	c.next = 6
	_, err := c.connect(j)
	must(t, err)
	must(t, c.send(j, 2))
	must(t, c.send(j, 3))
	must(t, j.Close())
	path := segmentPath(dir, 1)
	content, err := os.ReadFile(path)
	must(t, err)
	for i := range content {
		content[i] ^= 0x10
		must(t, os.WriteFile(path, content, 0o600))
		if r := audit(t, dir); r.OK {
			t.Errorf("byte %d: the audit is content", i)
		}
		content[i] ^= 0x10
	}
}

func TestAuditCounts(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	c.next = 11
	_, err := c.connect(j)
	must(t, err)
	must(t, c.send(j, 3))
	tomb := wire.Entry{From: 4, To: 5, Incarnation: c.history.At(4), Reason: wire.ReasonExpired, Time: testTime}
	marked := c.entry(6, 7)
	marked.Doubled = true
	for _, e := range []wire.Entry{tomb, marked} {
		_, err = j.Append(context.Background(), c.session, []collector.Append{{Stream: c.stream(), Entry: e, Time: testTime}})
		must(t, err)
	}
	must(t, j.Close())
	r := audit(t, dir)
	if !r.OK || len(r.Streams) != 1 {
		t.Fatalf("report: %s", r.String())
	}
	got, err := json.Marshal(r.Streams[0])
	must(t, err)
	want := `{"agent":"pump-7","lane":"default","epoch":"` + c.epoch.String() + `","base":0,"w":7,"stored":5,"tombstoned":{"expired":2},"may_be_doubled":2,"pending":3,"unexplained":0,"doubled":0,"lost_at_store":0}`
	if string(got) != want {
		t.Errorf("stream is\n%s\nwant\n%s", got, want)
	}
}

// TestRule11UnexplainedUntilTheAgentHasThem follows announced numbers through a
// folder that is put back to an older state.
func TestRule11UnexplainedUntilTheAgentHasThem(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	c.next = 11
	_, err := c.connect(j)
	must(t, err)
	must(t, c.send(j, 4))
	pending := func(want uint64, ok bool) Report {
		t.Helper()
		r := audit(t, dir)
		if r.OK != ok || r.Streams[0].Pending != want {
			t.Errorf("pending %d, want %d: %s", r.Streams[0].Pending, want, r.String())
		}
		return r
	}
	pending(6, true)
	// A hello alone explains nothing away and accuses nobody.
	old := *c
	if _, err := c.connect(j); err != nil {
		t.Fatal(err)
	}
	pending(6, true)
	// The folder is put back to number 6 and opened: 7 to 10 are gone.
	c.next = 7
	c.history = c.history.Begin(wire.Incarnation{ID: wire.NewID()}, 7)
	if _, err := j.Hello(context.Background(), collector.Hello{Hello: wire.Hello{Agent: c.id, LastSession: c.session.Number, Streams: 1, Instance: wire.Instance{ID: wire.ID{1}}},
		Streams: []wire.StreamState{c.state()}, Time: testTime}); err != nil {
		t.Fatal(err)
	}
	pending(6, true)
	_, err = c.connect(j)
	must(t, err)
	r := pending(2, false)
	if len(r.Findings) != 1 || r.Findings[0].Kind != KindUnexplained || r.Findings[0].From != 7 || r.Findings[0].To != 10 ||
		r.Findings[0].Incarnation != old.history.At(7) || r.Streams[0].Unexplained != 4 {
		t.Errorf("report: %s", r.String())
	}
	must(t, c.send(j, 2))
	if r := audit(t, dir); r.OK || r.Findings[0].From != 7 {
		t.Errorf("report: %s", r.String())
	}
}

func TestAuditNamesWhatTheStoreLost(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	_, err := c.connect(j)
	must(t, err)
	lost := wire.Entry{From: 1, To: 5, Incarnation: c.history.At(1), Reason: wire.ReasonLostAtStore, Time: testTime}
	_, err = j.Append(context.Background(), c.session, []collector.Append{{Stream: c.stream(), Entry: lost, Time: testTime}})
	must(t, err)
	r := audit(t, dir)
	if r.OK || len(r.Findings) != 1 || r.Findings[0].Kind != KindLost || r.Findings[0].To != 5 || r.Streams[0].LostAtStore != 5 {
		t.Errorf("report: %s", r.String())
	}
}

// TestAuditComparesSnapshots puts snapshots that say something else than the
// records, with a good checksum, into a segment's head.
func TestAuditComparesSnapshots(t *testing.T) {
	for what, change := range map[string]func(m agents){
		"an agent less": func(m agents) { delete(m, "pump-9") },
		"other counts": func(m agents) {
			a := m["pump-9"]
			s := a.Streams()[0]
			a.ApplyEntry(ledger.Settled{Time: testTime, Lane: s.Lane, Epoch: s.Epoch, From: 1, To: 1, Incarnation: s.History.At(1)})
		},
		"another session": func(m agents) { m["pump-9"].ApplyParting(ledger.Parting{Time: testTime}) },
	} {
		t.Run(what, func(t *testing.T) { falseSnapshot(t, change) })
	}
}

func falseSnapshot(t *testing.T, change func(agents)) {
	dir := smallJournal(t, true)
	ordinals, err := listSegments(dir)
	must(t, err)
	path := segmentPath(dir, ordinals[1])
	h, err := readHead(path)
	must(t, err)
	content, err := os.ReadFile(path)
	must(t, err)
	m, err := readSnapshot(path, &h)
	must(t, err)
	change(m)
	snap := m.appendSnapshot(nil)
	old := h.records()
	h.snapshot, h.crc = uint32(len(snap)), crc32.Checksum(snap, wire.Castagnoli)
	must(t, os.WriteFile(path, bytes.Join([][]byte{h.append(nil), snap, content[old:]}, nil), 0o600))
	r := audit(t, dir)
	found := false
	for _, f := range r.Findings {
		found = found || f.Kind == KindSnapshot && f.Agent == "pump-9"
	}
	if r.OK || !found {
		t.Errorf("report: %s", r.String())
	}
}

func TestNumbers(t *testing.T) {
	a, b := &tally{}, &tally{}
	var s numbers
	for _, c := range []struct {
		from, to wire.Seq
		owner    *tally
		twice    string
		set      string
	}{
		{5, 8, a, "[]", "5-8"},
		{9, 10, a, "[]", "5-10"},
		{20, 22, b, "[]", "5-10 20-22"},
		{1, 6, b, "[5-6]", "1-4 5-10 20-22"},
		{8, 25, a, "[20-22]", "1-4 5-19 20-22 23-25"},
		{1, 30, b, "[5-19 23-25]", "1-4 5-19 20-22 23-25 26-30"},
	} {
		twice := ""
		for i, o := range s.add(c.from, c.to, c.owner) {
			if i > 0 {
				twice += " "
			}
			twice += fmt.Sprintf("%d-%d", o.from, o.to)
		}
		set := ""
		for i, o := range s {
			if i > 0 {
				set += " "
			}
			set += fmt.Sprintf("%d-%d", o.from, o.to)
		}
		if "["+twice+"]" != c.twice || set != c.set {
			t.Errorf("add %d-%d: twice [%s], set %s; want %s, %s", c.from, c.to, twice, set, c.twice, c.set)
		}
	}
	s = numbers{{3, 4, a}, {8, 9, a}}
	if got := fmt.Sprint(s.without(1, 10)); got != fmt.Sprint([]owned{{1, 2, nil}, {5, 7, nil}, {10, 10, nil}}) {
		t.Errorf("without: %s", got)
	}
}
