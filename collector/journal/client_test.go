package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

var testTime = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// client is an agent with one stream, as a store sees it. Body n is
// "agent/epoch/n".
type client struct {
	id      wire.AgentID
	epoch   wire.Epoch
	history wire.History
	next    wire.Seq
	w       wire.Seq
	session collector.Session
}

func newClient(id string) *client {
	return &client{id: wire.AgentID(id), epoch: wire.Epoch{ID: wire.NewID()}, next: 1,
		history: wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}}}
}

func (c *client) stream() collector.Stream {
	return collector.Stream{Lane: wire.DefaultLane, Epoch: c.epoch}
}

func (c *client) state() wire.StreamState {
	return wire.StreamState{Lane: wire.DefaultLane, Epoch: c.epoch, Next: c.next, Acked: c.w, Boundaries: c.history}
}

func (c *client) body(n wire.Seq) string { return fmt.Sprintf("%s/%s/%d", c.id, c.epoch, n) }

// connect says hello and resumes; next is what the client then has announced.
func (c *client) connect(s collector.Store) (wire.Match, error) {
	ctx := context.Background()
	g, err := s.Hello(ctx, collector.Hello{Hello: wire.Hello{Protocol: wire.Version, Agent: c.id, LastSession: c.session.Number, Streams: 1,
		Instance: wire.Instance{ID: wire.ID{1}}}, Streams: []wire.StreamState{c.state()}, Time: testTime})
	if err != nil {
		return wire.Match{}, err
	}
	c.session = collector.Session{Agent: c.id, Session: g.Session}
	m := g.Matches[0]
	base := m.Common
	if m.Found && m.Common != m.W {
		return m, fmt.Errorf("client %s would fork: %+v", c.id, m)
	}
	c.w, err = s.Resume(ctx, c.session, wire.Resume{Lane: wire.DefaultLane, Epoch: c.epoch, Base: base, Next: c.next, Boundaries: c.history})
	return m, err
}

// entry returns data for the numbers from to to.
func (c *client) entry(from, to wire.Seq) wire.Entry {
	var records []byte
	for n := from; n <= to; n++ {
		b, err := wire.AppendRecord(records, &wire.Message{Time: testTime, Body: []byte(c.body(n))})
		if err != nil {
			panic(err)
		}
		records = b
	}
	inc := c.history.At(from)
	h := wire.BatchHeader{Lane: wire.DefaultLane, Epoch: c.epoch, Incarnation: inc, First: from, Count: uint32(to - from + 1)}
	return wire.Entry{From: from, To: to, Incarnation: inc, Batch: wire.AppendBatch(nil, h, records)}
}

// send appends k new numbers behind W as one entry.
func (c *client) send(s collector.Store, k int) error {
	to := c.w + wire.Seq(k)
	c.next = max(c.next, to+1)
	got, err := s.Append(context.Background(), c.session, []collector.Append{{Stream: c.stream(), Entry: c.entry(c.w+1, to), Time: testTime}})
	if err != nil {
		return err
	}
	if got[0].W != to {
		return fmt.Errorf("%s: W is %d, want %d", c.id, got[0].W, to)
	}
	c.w = to
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bodies reads all bodies in order, per agent, and checks that numbers follow
// one another in each stream.
func bodies(t testing.TB, read func(context.Context, collector.Cursor, func(collector.Stored) error) (collector.Cursor, error)) map[wire.AgentID][]string {
	t.Helper()
	out := map[wire.AgentID][]string{}
	last := map[collector.Stream]wire.Seq{}
	_, err := read(context.Background(), "", func(r collector.Stored) error {
		if w, ok := last[r.Stream]; ok && r.Entry.From != w+1 {
			t.Errorf("%s: %d follows %d", r.Agent, r.Entry.From, w)
		}
		last[r.Stream] = r.Entry.To
		b, err := r.Entry.Check()
		if err != nil {
			return err
		}
		for n, err := range b.Records() {
			if err != nil {
				return err
			}
			if m, err := n.Record.Message(); err != nil {
				return err
			} else if n.Seq >= r.Entry.From && n.Seq <= r.Entry.To {
				out[r.Agent] = append(out[r.Agent], string(m.Body))
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	return out
}

// checkBodies checks that a journal holds exactly numbers 1 to W of each client.
func checkBodies(t testing.TB, j *Journal, clients ...*client) {
	t.Helper()
	got := bodies(t, j.Read)
	for _, c := range clients {
		if len(got[c.id]) != int(c.w) {
			t.Errorf("%s: %d messages stored, want %d", c.id, len(got[c.id]), c.w)
			continue
		}
		for i, b := range got[c.id] {
			if b != c.body(wire.Seq(i+1)) {
				t.Errorf("%s: message %d is %q", c.id, i+1, b)
			}
		}
	}
}

// kill leaves a journal as SIGKILL does: nothing more is written, and the lock is
// free. The writer is left waiting until the test ends.
func kill(t testing.TB, j *Journal) {
	t.Helper()
	j.mu.Lock()
	j.closed = true
	j.queue, j.riders = nil, nil
	j.mu.Unlock()
	close(j.stop)
	<-j.done
	j.abandon()
	j.markFile.Close()
	j.lock.Close()
}

// copyDir copies a folder's files into a new one.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

func audit(t testing.TB, dir string) Report {
	t.Helper()
	r, err := Audit(context.Background(), dir)
	must(t, err)
	return r
}

func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ok %v, %d records\n", r.OK, r.Records)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s %s %d-%d in %s at %d: %s\n", f.Kind, f.Agent, f.From, f.To, f.File, f.Offset, f.What)
	}
	return b.String()
}

// place of a record in a folder.
type placed struct {
	file     string
	off, end int64
	kind     byte
	last     bool // of its commit
	event    event
}

// records lists all records of the extents that count.
func listRecords(t testing.TB, dir string) (out []placed) {
	t.Helper()
	r, err := OpenReader(dir)
	must(t, err)
	extents, err := r.extents()
	must(t, err)
	for i := range extents {
		e := &extents[i]
		f, err := os.Open(e.path)
		must(t, err)
		s := newScanner(f, seed(r.identity.Store), e.records(), e.valid, 0)
		for s.next() {
			if s.bad != nil {
				t.Fatalf("%s: %v", e.path, s.bad.why)
			}
			ev, err := parseEvent(s.rec.kind, append([]byte(nil), s.rec.payload...))
			must(t, err)
			out = append(out, placed{filepath.Base(e.path), s.rec.off, s.rec.end, s.rec.kind, s.rec.last, ev})
		}
		f.Close()
	}
	return out
}

// faulty is a disk of which single steps can be made to fail.
type faulty struct {
	osDisk
	fail  map[string]int // step: it fails when its count gets to 1; negative: from then on always
	short bool           // a failing write writes half
}

var errFault = errors.New("injected fault")

func (d *faulty) hit(step string) error {
	n, ok := d.fail[step]
	if !ok {
		return nil
	}
	switch {
	case n < 0:
		return fmt.Errorf("%s: %w", step, errFault)
	case n == 1:
		delete(d.fail, step)
		return fmt.Errorf("%s: %w", step, errFault)
	}
	d.fail[step] = n - 1
	return nil
}

type faultyFile struct {
	file
	d    *faulty
	mark bool
}

func (d *faulty) wrap(f file, err error, path string) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d, filepath.Base(path) == markName}, nil
}

func (d *faulty) create(path string) (file, error) {
	if err := d.hit("create"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.create(path)
	return d.wrap(f, err, path)
}

func (d *faulty) open(path string) (file, error) {
	if err := d.hit("open"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.open(path)
	return d.wrap(f, err, path)
}

func (d *faulty) rename(from, to string) error {
	if err := d.hit("rename"); err != nil {
		return err
	}
	return d.osDisk.rename(from, to)
}

func (d *faulty) syncDir(dir string) error {
	if err := d.hit("syncdir"); err != nil {
		return err
	}
	return d.osDisk.syncDir(dir)
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	step := "write"
	if f.mark {
		step = "mark"
	}
	if err := f.d.hit(step); err != nil {
		n := 0
		if f.d.short {
			n, _ = f.file.WriteAt(b[:len(b)/2], off)
		}
		return n, err
	}
	return f.file.WriteAt(b, off)
}

func (f *faultyFile) sync() error {
	if err := f.d.hit("sync"); err != nil {
		return err
	}
	return f.file.sync()
}

// fastDisk writes and does not sync: for tests that crash nothing.
type fastDisk struct{ osDisk }

type fastFile struct{ file }

func (fastFile) sync() error { return nil }

func (d fastDisk) create(path string) (file, error) {
	f, err := d.osDisk.create(path)
	return fastFile{f}, err
}

func (d fastDisk) open(path string) (file, error) {
	f, err := d.osDisk.open(path)
	return fastFile{f}, err
}

func (fastDisk) syncDir(string) error { return nil }
