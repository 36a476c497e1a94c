package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

var (
	_ transport.Source     = (*Lane)(nil)
	_ transport.Timekeeper = (*Lane)(nil)
	_ transport.LiveFirst  = (*Lane)(nil)
)

// site is a lane and a store that takes what it gives.
type site struct {
	*Lane
	t    testing.TB
	cfg  Config
	w    map[wire.Epoch]wire.Seq
	got  map[wire.Epoch][]string
	id   wire.StoreID
	next int
}

func openSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "lane"), Agent: "pump-7", Lane: "default", AckDelay: time.Millisecond, LiveFirst: time.Minute}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, f := range change {
		f(&cfg)
	}
	s := &site{t: t, cfg: cfg, w: map[wire.Epoch]wire.Seq{}, got: map[wire.Epoch][]string{}, id: storeA, next: 1}
	s.open()
	t.Cleanup(func() { s.Lane.Close() })
	return s
}

func (s *site) open() {
	s.t.Helper()
	l, err := OpenLane(context.Background(), s.cfg)
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	s.Lane = l
}

func (s *site) reopen() {
	s.t.Helper()
	if err := s.Lane.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// put stores the next n messages, m1, m2 and so on.
func (s *site) put(n int) {
	s.t.Helper()
	for range n {
		if err := s.Put(context.Background(), msg(fmt.Sprint("m", s.next))); err != nil {
			s.t.Fatalf("put m%d: %v", s.next, err)
		}
		s.next++
	}
}

// link lets the store welcome the lane, and returns how many streams that has now.
func (s *site) link() int {
	s.t.Helper()
	said := s.Streams()
	matches := make([]wire.Match, len(said))
	for i, st := range said {
		if w, ok := s.w[st.Epoch]; ok {
			matches[i] = wire.Match{Found: true, Epoch: st.Epoch, W: w, Common: w}
		}
	}
	resumes, err := s.Welcome(context.Background(), s.id, said, matches)
	if err != nil {
		s.t.Fatalf("welcome: %v", err)
	}
	for _, r := range resumes {
		if w, ok := s.w[r.Epoch]; ok && w != r.Base {
			s.t.Fatalf("epoch %s resumes after %d, the store has %d", r.Epoch, r.Base, w)
		}
		s.w[r.Epoch] = r.Base
	}
	return len(resumes)
}

// take takes up to n entries of all streams, and acks them.
func (s *site) take(n int) (taken int) {
	s.t.Helper()
	for again := true; again && taken < n; {
		again = false
		for _, st := range s.Streams() {
			e, ok, err := s.Next(st.Epoch, s.w[st.Epoch]+1)
			if err != nil {
				s.t.Fatal(err)
			}
			if !ok || taken == n {
				continue
			}
			b, err := e.Check()
			if err != nil || e.From != s.w[st.Epoch]+1 {
				s.t.Fatalf("entry %d to %d: %v", e.From, e.To, err)
			}
			if e.IsTombstone() {
				for range e.To - e.From + 1 {
					s.got[st.Epoch] = append(s.got[st.Epoch], e.Reason.String())
				}
			} else {
				for r, err := range b.Records() {
					if err != nil {
						s.t.Fatal(err)
					}
					m, _ := r.Record.Message()
					s.got[st.Epoch] = append(s.got[st.Epoch], string(m.Body))
				}
			}
			s.w[st.Epoch] = e.To
			s.Ack(st.Epoch, e.To)
			taken++
			again = true
		}
	}
	return taken
}

// settle waits until all acks are on disk.
func (s *site) settle() {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		said, done := s.Streams(), true
		for _, st := range said {
			done = done && st.Acked >= s.w[st.Epoch]
		}
		if done {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("acks: %+v", said)
		}
	}
}

// outage lets no link be seen for longer than the setting.
func (s *site) outage() { s.Lane.opened = s.Lane.opened.Add(-2 * s.cfg.LiveFirst) }

func names(first, last int) []string { return bodies(first, last) }

func TestALaneGoesLiveFirst(t *testing.T) {
	s := openSite(t)
	s.put(3)
	if n := s.link(); n != 1 {
		t.Fatalf("%d streams without an outage", n)
	}
	s.outage()
	if n := s.link(); n != 2 {
		t.Fatalf("%d streams after an outage", n)
	}
	old, live := s.Streams()[0].Epoch, s.Streams()[1].Epoch
	if e, ok := s.Ahead(); !ok || e != live {
		t.Errorf("ahead: %s, %v", e, ok)
	}
	s.put(2)
	s.outage() // nothing has come through: the same again
	if n := s.link(); n != 3 {
		t.Fatalf("%d streams after another outage", n)
	}
	s.put(1)
	newest := s.Streams()[2].Epoch
	// The newest waits for nobody, the others for those before them.
	for epoch, want := range map[wire.Epoch]bool{old: true, live: false, newest: true} {
		if _, ok, err := s.Next(epoch, 1); ok != want || err != nil {
			t.Errorf("epoch %s: sends %v, %v; want %v", epoch, ok, err, want)
		}
	}
	if st := s.Stats(); st.Accepted != 6 || st.Backlog != 6 || st.Streams != 3 || st.Epoch != newest || st.Next != 2 {
		t.Errorf("stats: %+v", st)
	}
	s.take(100)
	want := map[wire.Epoch][]string{old: names(1, 3), live: names(4, 5), newest: names(6, 6)}
	if fmt.Sprint(s.got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", s.got, want)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := s.Ahead(); ok {
		t.Error("goes ahead of nothing")
	}
	s.settle()
	s.outage()
	if n := s.link(); n != 3 {
		t.Errorf("%d streams: nothing had piled up", n)
	}
	s.reopen()
	s.put(1)
	if st := s.Stats(); st.Accepted != 7 || st.Backlog != 1 || st.Epoch != newest || st.Streams != 1 {
		t.Errorf("stats after opening again: %+v", st)
	}
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := ReadStats(s.cfg.Dir); err != nil || st.Accepted != 7 || st.Backlog != 1 || st.Epoch != newest {
		t.Errorf("at rest: %+v, %v", st, err)
	}
	s.cfg.LiveFirst = 0 // drains what it has, in one order
	s.open()
	s.put(1)
	s.outage()
	if n := s.link(); n != 3 {
		t.Errorf("%d streams with the setting off", n)
	}
	s.take(100)
	if fmt.Sprint(s.got[newest]) != fmt.Sprint(names(6, 8)) {
		t.Errorf("got %v", s.got[newest])
	}
}

// What has waited for longer than the setting when the process starts is a
// backlog as well.
func TestALaneGoesLiveFirstAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t)
		s.put(1)
		time.Sleep(2 * time.Minute)
		s.reopen()
		if n := s.link(); n != 2 {
			t.Errorf("%d streams", n)
		}
		s.put(1)
		s.reopen()
		if n := s.link(); n != 2 {
			t.Errorf("%d streams: the newest message is young", n)
		}
		s.Lane.Close()
	})
}

// A lane without the setting has the same files as before.
func TestALaneWithoutLiveFirstIsAQueue(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
	s.put(3)
	s.outage()
	s.link()
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	q, err := Open(context.Background(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if st := q.Stats(); st.Backlog != 3 {
		t.Errorf("%+v", st)
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Dir, streamsFolder)); !isNotExist(err) {
		t.Errorf("folder %s: %v", streamsFolder, err)
	}
}

// pictures copies the lane's folder ahead of each step of f.
func (s *site) pictures(f func()) (steps, dirs []string) {
	s.t.Helper()
	below := s.t.TempDir()
	end := durable.Watch(filepath.Dir(s.cfg.Dir), func(step durable.Step, path string) error {
		dir := filepath.Join(below, fmt.Sprint(len(dirs)), "lane")
		if err := os.CopyFS(dir, os.DirFS(s.cfg.Dir)); err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.cfg.Dir, path)
		steps, dirs = append(steps, fmt.Sprint(step, " ", rel)), append(dirs, dir)
		return nil
	})
	defer end()
	f()
	return steps, dirs
}

// A crash at any instant of a split leaves a lane that has every message once,
// each stream in order, and goes on.
func TestASplitAtEveryStep(t *testing.T) {
	s := openSite(t)
	s.put(2)
	s.link()
	s.take(1)
	s.settle()
	s.put(3)
	s.outage()
	steps, dirs := s.pictures(func() { s.link() })
	if len(steps) < 10 || len(s.Streams()) != 2 {
		t.Fatalf("%d steps, %d streams", len(steps), len(s.Streams()))
	}
	old := s.Streams()[0].Epoch
	w := s.w[old]
	for i, dir := range dirs {
		c := openSite(t, func(c *Config) { c.Dir = dir })
		c.w[old], c.next = w, 6
		c.put(2)
		c.link()
		c.put(2)
		c.take(1000)
		var all []string
		for _, st := range c.Streams() {
			all = append(all, c.got[st.Epoch]...)
		}
		if want := names(int(w)+1, 9); !slices.Equal(all, want) {
			t.Errorf("ahead of %s: got %v, want %v", steps[i], all, want)
		}
		c.Lane.Close()
	}
}

// A stream that is drained takes its turn again, and a crash at any instant of
// that leaves a lane that has every message once, each stream in order.
func TestATurnAtEveryStep(t *testing.T) {
	s := openSite(t)
	s.put(2)
	s.outage()
	s.link()
	s.take(100)
	s.settle()
	drained := s.Streams()[0].Epoch
	s.put(3) // into the second
	s.outage()
	steps, dirs := s.pictures(func() {
		if n := s.link(); n != 2 {
			t.Fatalf("%d streams", n)
		}
	})
	if len(steps) < 2 {
		t.Fatalf("steps: %q", steps)
	}
	dirs, steps = append(dirs, s.cfg.Dir), append(steps, "the end")
	s.put(1)
	if st := s.Stats(); st.Epoch != drained || st.Next != 4 || st.Accepted != 6 || st.Streams != 2 {
		t.Errorf("stats: %+v", st)
	}
	s.Lane.Close()
	if st, err := ReadStats(s.cfg.Dir); err != nil || st.Epoch != drained || st.Next != 4 || st.Backlog != 4 {
		t.Errorf("at rest: %+v, %v", st, err)
	}
	for i, dir := range dirs {
		c := openSite(t, func(c *Config) { c.Dir = dir })
		c.next = 7
		for _, st := range c.Streams() {
			c.w[st.Epoch] = st.Acked
		}
		c.put(1)
		if n := c.link(); n != 2 {
			t.Errorf("ahead of %s: %d streams", steps[i], n)
		}
		c.put(1)
		c.take(1000)
		var all []string
		for _, st := range c.Streams() {
			if !slices.IsSorted(c.got[st.Epoch]) {
				t.Errorf("ahead of %s: got %v", steps[i], c.got[st.Epoch])
			}
			all = append(all, c.got[st.Epoch]...)
		}
		slices.Sort(all)
		if i == len(dirs)-1 {
			all = slices.DeleteFunc(all, func(m string) bool { return m == "m6" })
		}
		if want := append(names(3, 5), names(7, 8)...); !slices.Equal(all, want) {
			t.Errorf("ahead of %s: got %v, want %v", steps[i], all, want)
		}
		c.Lane.Close()
	}
}

// However many outages there are, a lane has no more streams than have a backlog
// at one time; and the order of their turns is told by the folder.
func TestStreamsTakeTurns(t *testing.T) {
	s := openSite(t)
	for range 2 * maxBacklogs {
		s.put(1)
		s.outage()
		if n := s.link(); n != 2 {
			t.Fatalf("%d streams", n)
		}
		live := s.Stats().Epoch
		s.take(100)
		s.settle()
		s.reopen()
		if st := s.Stats(); st.Epoch != live || st.Accepted != uint64(s.next-1) {
			t.Fatalf("opened again: %+v, epoch was %s", st, live)
		}
	}
	s.put(1)
	s.outage()
	s.link()
	s.put(2)
	s.cfg.LiveFirst = 0 // now they follow one another, in the order of their turns
	s.reopen()
	s.link()
	if old := s.Streams()[0]; old.Epoch == s.Stats().Epoch || old.Next-1-old.Acked != 1 {
		t.Errorf("the backlog is not the first: %+v", old)
	}
	if _, ok, err := s.Next(s.Stats().Epoch, s.w[s.Stats().Epoch]+1); ok || err != nil {
		t.Errorf("the last stream does not wait: %v", err)
	}
	s.take(100)
	if st := s.Stats(); st.Backlog != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// A stream that a run of refusals has stopped takes no turn, even if nothing of it
// is left to send.
func TestAStoppedStreamTakesNoTurn(t *testing.T) {
	s := openSite(t)
	s.put(maxRefusals)
	s.outage()
	s.link()
	old := s.Streams()[0].Epoch
	for n := range maxRefusals {
		s.refuse(old, wire.Seq(n+1))
	}
	s.w[old] = maxRefusals
	s.Ack(old, maxRefusals)
	s.put(1)
	s.outage()
	if n := s.link(); n != 3 || s.Stats().Epoch == old {
		t.Errorf("%d streams: %+v", n, s.Stats())
	}
}

// No stream is begun while there is no place, and none is removed that is of use.
func TestALaneHasAtMostSoManyBacklogs(t *testing.T) {
	s := openSite(t)
	for range maxBacklogs + 3 {
		s.put(1)
		s.outage()
		s.link()
	}
	if n := len(s.Streams()); n != maxBacklogs+1 {
		t.Errorf("%d streams", n)
	}
	s.take(1000)
	if n := len(s.got); n != maxBacklogs+1 {
		t.Errorf("%d streams have delivered", n)
	}
}

// Whatever a lane has numbered, it answers for to a store that was set back (rule
// 3), however many outages ago that was.
func TestRule3NothingThatWasNumberedIsForgotten(t *testing.T) {
	s := openSite(t, func(c *Config) { c.SegmentSize = minSegmentSize })
	for range 3 * maxBacklogs {
		s.put(3)
		s.outage()
		s.link()
		s.put(1)
		s.take(100)
		s.settle()
	}
	s.w, s.got = map[wire.Epoch]wire.Seq{}, map[wire.Epoch][]string{} // the store has lost everything
	s.link()
	s.take(1000)
	told := 0
	for _, list := range s.got {
		told += len(list)
	}
	if told != s.next-1 {
		t.Errorf("%d numbers are settled of %d", told, s.next-1)
	}
}

// A drained stream answers for what a store has lost (rule 3).
func TestRule3ADrainedBacklogDeclaresWhatIsGone(t *testing.T) {
	s := openSite(t, func(c *Config) { c.SegmentSize = minSegmentSize })
	s.put(3)
	s.outage()
	s.link()
	old := s.Streams()[0].Epoch
	s.put(1)
	s.take(100)
	s.settle()
	s.reopen()
	s.w[old] = 1 // the store is set back
	s.got = map[wire.Epoch][]string{}
	s.link()
	s.take(100)
	if got := s.got[old]; len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if s.w[old] != 3 {
		t.Errorf("W is %d", s.w[old])
	}
}

// Limits are for all streams together, and the oldest gives way first.
func TestLimitsHoldOverAllStreams(t *testing.T) {
	s := openSite(t, func(c *Config) { c.MaxMessages = 5 })
	s.put(3)
	s.outage()
	s.link()
	s.put(2)
	if err := s.Put(t.Context(), msg("x")); !errors.Is(err, ErrFull) {
		t.Errorf("put: %v", err)
	}
	old, live := s.Streams()[0].Epoch, s.Streams()[1].Epoch
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	s.cfg.Overflow = DropOldest
	s.open()
	s.put(2) // m6, m7
	s.link()
	s.take(100)
	if got, want := fmt.Sprint(s.got[old], s.got[live]), fmt.Sprint([]string{"overflow", "overflow", "m3"}, names(4, 7)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Who waits for room in the newest stream is woken by an older one.
func TestAnOlderStreamMakesRoom(t *testing.T) {
	s := openSite(t, func(c *Config) { c.MaxMessages, c.Overflow = 3, Block })
	s.put(3)
	s.outage()
	s.link()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Put(ctx, msg("m4")) }()
	s.take(100)
	if err := <-done; err != nil {
		t.Errorf("put: %v", err)
	}
}

func TestMaxBytesHoldsOverAllStreams(t *testing.T) {
	const most = 1 << 20
	s := openSite(t, func(c *Config) { c.MaxBytes, c.Overflow = most, DropOldest })
	body := strings.Repeat("x", 10<<10)
	for round := range 3 {
		for range 60 {
			if err := s.Put(t.Context(), msg(body)); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.DiskBytes > most {
				t.Fatalf("%d bytes on disk", st.DiskBytes)
			}
		}
		s.outage()
		if n := s.link(); n != min(round, 1)+2 { // two older ones are all that so few bytes allow
			t.Fatalf("%d streams", n)
		}
		if st := s.Stats(); st.DiskBytes > most {
			t.Fatalf("%d bytes on disk with another stream", st.DiskBytes)
		}
	}
	s.take(10000)
	got := map[string]int{}
	for _, list := range s.got {
		for _, it := range list {
			got[it[:min(len(it), 8)]]++
		}
	}
	if got["xxxxxxxx"]+got["overflow"] != 180 || got["xxxxxxxx"] < 40 || got["overflow"] < 40 {
		t.Errorf("got %v", got)
	}
}

// A lane that a run of refusals has stopped does not go on in another stream.
func TestAStoppedLaneIsNotSplit(t *testing.T) {
	s := openSite(t)
	s.link()
	s.put(maxRefusals + 1)
	for n := range maxRefusals {
		s.refuse(s.Streams()[0].Epoch, wire.Seq(n+1))
	}
	s.outage()
	if n := s.link(); n != 1 || !s.Stats().Stopped {
		t.Errorf("%d streams: %+v", n, s.Stats())
	}
}

// A split that fails, on a full disk for instance, leaves a folder that does not
// keep the lane from opening.
func TestASplitThatFails(t *testing.T) {
	s := openSite(t)
	s.put(1)
	s.outage()
	end := durable.Watch(s.cfg.Dir, func(step durable.Step, path string) error {
		if step == durable.Rename && strings.Contains(path, streamsFolder) {
			return errors.New("no")
		}
		return nil
	})
	n := s.link()
	end()
	if n != 1 {
		t.Fatalf("%d streams", n)
	}
	s.put(1)
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(streamDir(s.cfg.Dir, 1)); err != nil {
		t.Fatalf("the folder of the stream that was not begun: %v", err)
	}
	if st, err := ReadStats(s.cfg.Dir); err != nil || st.Next != 3 {
		t.Errorf("at rest: %+v, %v", st, err)
	}
	s.open()
	s.put(1)
	if st := s.Streams(); len(st) != 1 || st[0].Next != 4 {
		t.Errorf("streams: %+v", st)
	}
	s.outage()
	if n := s.link(); n != 2 {
		t.Errorf("%d streams", n)
	}
}

// Two folders must not hold one stream.
func TestACopiedStreamIsRefused(t *testing.T) {
	s := openSite(t)
	s.put(1)
	s.outage()
	s.link()
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(streamDir(s.cfg.Dir, 2), os.DirFS(streamDir(s.cfg.Dir, 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLane(t.Context(), s.cfg); err == nil || !strings.Contains(err.Error(), "one stream") {
		t.Errorf("open: %v", err)
	}
}
