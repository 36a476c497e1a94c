package queue

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

var _ transport.Source = (*Queue)(nil)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		os.Exit(0)
	}
	leak.Main(m)
}

// lane is a queue under test and what is needed to open it again.
type lane struct {
	*Queue
	t      testing.TB
	cfg    Config
	faults *faults
	unhook func()
}

func openLane(t testing.TB, change ...func(*Config)) *lane {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "lane"), Agent: "pump-7", Lane: "default", AckDelay: time.Millisecond}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, f := range change {
		f(&cfg)
	}
	l := &lane{t: t, cfg: cfg, faults: &faults{}, unhook: func() {}}
	l.open()
	t.Cleanup(func() {
		if l.Queue != nil {
			l.Queue.Close()
		}
		l.unhook()
	})
	return l
}

func (l *lane) open() {
	l.t.Helper()
	l.hook()
	q, err := Open(context.Background(), l.cfg)
	if err != nil {
		l.t.Fatalf("open: %v", err)
	}
	l.Queue = q
}

// hook watches the lane's folder, with no failure armed.
func (l *lane) hook() {
	l.unhook()
	l.faults.disarm()
	l.unhook = durable.Watch(filepath.Dir(l.cfg.Dir), l.faults.hook)
}

func (l *lane) close() {
	l.t.Helper()
	if err := l.Queue.Close(); err != nil {
		l.t.Fatalf("close: %v", err)
	}
	l.Queue = nil
}

func (l *lane) reopen() {
	l.t.Helper()
	l.close()
	l.open()
}

// crash opens a copy of the folder as it is on disk now, as after kill -9. The
// queue goes on with the copy; the old one is closed out of sight.
func (l *lane) crash() {
	l.t.Helper()
	l.cfg.Dir = l.copy()
	l.Queue.Close()
	l.open()
}

// copy copies the folder as it is on disk now; once more if a file was deleted
// meanwhile.
func (l *lane) copy() (dir string) {
	l.t.Helper()
	for {
		dir = filepath.Join(l.t.TempDir(), "lane")
		err := os.CopyFS(dir, os.DirFS(l.cfg.Dir))
		if err == nil {
			return dir
		}
		if !isNotExist(err) {
			l.t.Fatal(err)
		}
	}
}

var base = time.Unix(1_700_000_000, 0)

func msg(body string) wire.Message { return wire.Message{Topic: "t", Time: base, Body: []byte(body)} }

// put stores messages with the bodies first..last, one Put each.
func (l *lane) put(first, last int) {
	l.t.Helper()
	for i := first; i <= last; i++ {
		if err := l.Put(context.Background(), msg(fmt.Sprint("m", i))); err != nil {
			l.t.Fatalf("put m%d: %v", i, err)
		}
	}
}

func (l *lane) epoch() wire.Epoch { return l.Streams()[0].Epoch }

// item is one number as a store would see it.
type item struct {
	body    string
	reason  wire.Reason
	doubled bool
	inc     wire.Incarnation
}

func (it item) String() string {
	s := it.body
	if it.reason != 0 {
		s = it.reason.String()
	}
	if it.doubled {
		s += "?"
	}
	return s
}

// drain reads everything from number n on, checking each entry as a store does.
func (l *lane) drain(n wire.Seq) []item {
	l.t.Helper()
	var out []item
	for {
		e, ok, err := l.Next(l.epoch(), n)
		if err != nil {
			l.t.Fatalf("next %d: %v", n, err)
		}
		if !ok {
			return out
		}
		out = append(out, l.items(e, n)...)
		n = e.To + 1
	}
}

// items takes an entry that begins at n apart.
func (l *lane) items(e wire.Entry, n wire.Seq) (out []item) {
	l.t.Helper()
	b, err := e.Check()
	if err != nil || e.From != n {
		l.t.Fatalf("next %d: entry from %d to %d: %v", n, e.From, e.To, err)
	}
	st := l.Streams()[0]
	if e.To >= st.Next || st.Boundaries.At(e.From) != e.Incarnation || st.Boundaries.At(e.To) != e.Incarnation {
		l.t.Fatalf("entry %d to %d of %s: next %d, boundaries %v", e.From, e.To, e.Incarnation, st.Next, st.Boundaries)
	}
	if e.IsTombstone() {
		for range e.To - e.From + 1 {
			out = append(out, item{reason: e.Reason, doubled: e.Doubled, inc: e.Incarnation})
		}
		return out
	}
	for r, err := range b.Records() {
		if err != nil {
			l.t.Fatal(err)
		}
		if r.Seq >= e.From && r.Seq <= e.To {
			m, err := r.Record.Message()
			if err != nil {
				l.t.Fatal(err)
			}
			out = append(out, item{body: string(m.Body), doubled: e.Doubled, inc: e.Incarnation})
		}
	}
	return out
}

// want compares everything from number n on with bodies and reasons.
func (l *lane) want(n wire.Seq, want ...string) {
	l.t.Helper()
	if got := fmt.Sprint(l.drain(n)); got != fmt.Sprint(want) {
		l.t.Fatalf("from %d on: got %s, want %s", n, got, want)
	}
}

// seq returns the bodies of put(first, last).
func bodies(first, last int) (out []string) {
	for i := first; i <= last; i++ {
		out = append(out, fmt.Sprint("m", i))
	}
	return out
}

var storeA, storeB = wire.StoreID{ID: wire.ID{0xA}}, wire.StoreID{ID: wire.ID{0xB}}

// welcome lets a store answer the lane's present hello.
func (l *lane) welcome(store wire.StoreID, m wire.Match) wire.Resume {
	l.t.Helper()
	r, err := l.Welcome(context.Background(), store, l.Streams(), []wire.Match{m})
	if err != nil {
		l.t.Fatalf("welcome: %v", err)
	}
	return r[0]
}

// match is the answer of a store that agrees with the lane up to w.
func (l *lane) match(w wire.Seq) wire.Match {
	return wire.Match{Found: true, Epoch: l.epoch(), W: w, Common: w}
}

// waitFor waits until a condition holds.
func (l *lane) waitFor(what string, ok func(Stats) bool) {
	l.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		st := l.Stats()
		if ok(st) {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("%s: not within 10 s: %+v", what, st)
		}
	}
}

// ack acks up to w and waits until that is on disk.
func (l *lane) ack(w wire.Seq) {
	l.t.Helper()
	l.Ack(l.epoch(), w)
	l.waitFor("ack", func(Stats) bool { return l.Streams()[0].Acked >= w })
}

func (l *lane) files() []string {
	l.t.Helper()
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if _, ok := parseSegment(e.Name()); ok {
			out = append(out, e.Name())
		}
	}
	return out
}
