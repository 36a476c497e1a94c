package input

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fake is an agent's lanes in memory. Its calls fail as chance will have it.
type fake struct {
	mu     sync.Mutex
	rnd    *rand.Rand
	lanes  map[string]bool // that take messages
	route  func(topic string) string
	got    map[string][]string
	at     map[string]map[string][]byte
	most   int // messages of one call; 0: any
	faults bool
	crash  func() // ends the process's life
	calls  int
}

func newFake(seed uint64) *fake {
	return &fake{
		rnd: rand.New(rand.NewPCG(seed, 0)), lanes: map[string]bool{"default": true, "a": true, "b": true, "c": true},
		got: map[string][]string{}, at: map[string]map[string][]byte{}, route: func(topic string) string { return topic }, crash: func() {},
	}
}

func (f *fake) LaneOf(m *agent.Message) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lane := m.Lane
	if lane == "" {
		lane = f.route(m.Topic)
	}
	if !f.lanes[lane] {
		if m.Lane == "" {
			return "default", nil
		}
		return "", fmt.Errorf("%w %q", agent.ErrUnknownLane, lane)
	}
	return lane, nil
}

func (f *fake) SendFrom(ctx context.Context, lane string, list []agent.Message, points ...agent.Checkpoint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !f.lanes[lane] {
		return agent.ErrUnknownLane
	}
	if f.most > 0 && len(list) > f.most {
		return agent.ErrTooLarge
	}
	f.calls++
	store := func() {
		for _, m := range list {
			f.got[lane] = append(f.got[lane], string(m.Body))
		}
		for _, c := range points {
			if f.at[lane] == nil {
				f.at[lane] = map[string][]byte{}
			}
			if len(c.At) > 1024 || len(c.Source) > 1024 {
				panic("a checkpoint is too long")
			}
			if f.at[lane][c.Source] = bytes.Clone(c.At); c.At == nil {
				delete(f.at[lane], c.Source)
			}
		}
	}
	if f.faults {
		switch f.rnd.IntN(12) {
		case 0:
			return agent.ErrFull
		case 1:
			return agent.ErrUncertain
		case 2:
			store()
			return agent.ErrUncertain
		case 3: // killed before the commit
			f.crash()
			return context.Canceled
		case 4: // killed after it
			store()
			f.crash()
			return agent.ErrUncertain
		}
	}
	store()
	return nil
}

func (f *fake) Checkpoints() map[string][]agent.Checkpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string][]agent.Checkpoint{}
	for lane, list := range f.at {
		for source, at := range list {
			all[lane] = append(all[lane], agent.Checkpoint{Source: source, At: bytes.Clone(at)})
		}
	}
	return all
}

// cut returns the lines of text[from:to], each a message whose topic is its first
// word.
func cut(text string, from, to int64) (list []agent.Message, ends []int64) {
	for at := from; at < to; {
		n := int64(strings.IndexByte(text[at:to], '\n')) + 1
		if n == 0 {
			n = to - at
		}
		line := strings.TrimSuffix(text[at:at+n], "\n")
		topic, _, _ := strings.Cut(line, " ")
		at += n
		list, ends = append(list, agent.Message{Topic: topic, Body: []byte(line)}), append(ends, at)
	}
	return list, ends
}

// life reads text from where the lanes say, in chunks of up to size bytes, until
// its end or a crash.
func life(ctx context.Context, f Agent, text string, size func() int64) error {
	feed, err := NewFeed(f, nil)
	if err != nil {
		return err
	}
	s := feed.Source("file")
	if _, err := s.Settle(ctx); err != nil {
		return err
	}
	read := func(from, to int64) ([]agent.Message, []int64, error) {
		list, ends := cut(text, from, to)
		return list, ends, nil
	}
	if err := s.Resume(ctx, read); err != nil {
		return err
	}
	for {
		at, note := s.Position()
		if want := fmt.Sprint("at ", at); at > 0 && string(note) != want {
			return fmt.Errorf("note %q, want %q", note, want)
		}
		if at == int64(len(text)) {
			return nil
		}
		to := min(at+size(), int64(len(text)))
		for to < int64(len(text)) && text[to-1] != '\n' {
			to++
		}
		list, ends := cut(text, at, to)
		if err := s.Send(ctx, &Chunk{Messages: list, Ends: ends, To: to, Note: func(to int64) []byte { return fmt.Appendf(nil, "at %d", to) }}); err != nil {
			return err
		}
	}
}

// lines makes n lines for the lanes a, b and c; every seventh is followed by an
// empty one.
func lines(n int, rnd *rand.Rand) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%c line %d\n", "abc"[rnd.IntN(3)], i)
	}
	return b.String()
}

// Whatever the lanes answer and wherever the process dies, each line gets into its
// lane once, in order; also while routes change between two lives.
func TestEachLineOnceInOrder(t *testing.T) {
	schedules := 100
	if testing.Short() {
		schedules = 20
	}
	crashes := 0
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(seed)
			f.faults = true
			if seed%3 == 0 {
				f.most = 1 + f.rnd.IntN(40)
			}
			text := lines(200+f.rnd.IntN(1500), f.rnd)
			for lives := 0; ; lives++ {
				ctx, cancel := context.WithCancel(t.Context())
				f.crash = cancel
				rnd := rand.New(rand.NewPCG(seed, uint64(lives)))
				err := life(ctx, f, text, func() int64 { return 1 + rnd.Int64N(6000) })
				cancel()
				synctest.Wait()
				if err == nil {
					break
				}
				if ctx.Err() == nil || lives > 10_000 {
					t.Fatalf("seed %d: %v", seed, err)
				}
				crashes++
				if seed%2 == 0 { // other routes from here on
					k := f.rnd.IntN(3)
					f.route = func(topic string) string { return string("abc"[(int(topic[0]-'a')+k)%3]) }
				}
			}
			f.check(t, seed, text, true)
		})
	}
	if crashes < schedules {
		t.Errorf("only %d crashes in %d schedules", crashes, schedules)
	}
}

// check compares what the lanes got with the lines of text.
func (f *fake) check(t *testing.T, seed uint64, text string, ordered bool) {
	t.Helper()
	number := map[string]int{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		number[line] = i
	}
	seen, n := map[string]bool{}, 0
	for lane, list := range f.got {
		last := -1
		for _, line := range list {
			i, ok := number[line]
			switch {
			case !ok:
				t.Fatalf("seed %d: lane %s has %q, which was never a line", seed, lane, line)
			case seen[line]:
				t.Fatalf("seed %d: %q is there twice", seed, line)
			case ordered && i < last:
				t.Fatalf("seed %d: lane %s has line %d behind line %d", seed, lane, i, last)
			}
			seen[line], last = true, i
			n++
		}
	}
	if n != len(number) {
		t.Fatalf("seed %d: %d lines, want %d", seed, n, len(number))
	}
}

// A lane that is gone after a crash: what it had is not sent again, what it had not
// goes where the routes lead now.
func TestALaneThatIsGone(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(seed)
			f.faults = true
			text := lines(2000, f.rnd)
			for {
				ctx, cancel := context.WithCancel(t.Context())
				f.crash = cancel
				err := life(ctx, f, text, func() int64 { return 3000 })
				cancel()
				synctest.Wait()
				if err == nil {
					break
				}
				for _, lane := range []string{"a", "b", "c"} {
					f.lanes[lane] = f.rnd.IntN(2) > 0
				}
				k := f.rnd.IntN(3)
				f.route = func(topic string) string { return string("abc"[(int(topic[0]-'a')+k)%3]) }
			}
			f.check(t, seed, text, false)
		})
	}
}

func TestWhatNoLaneHoldsIsPassedOver(t *testing.T) {
	f := newFake(1)
	feed, err := NewFeed(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := feed.Source("file")
	big := &tooLarge{f, "a big"}
	feed.to = big
	list, ends := cut("a one\na big\na two\n", 0, 18)
	if err := s.Send(t.Context(), &Chunk{Messages: list, Ends: ends, To: 18}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.got["a"], "|"); got != "a one|a two" {
		t.Errorf("lane a got %q", got)
	}
	if c, waits := s.Count(); c.TooLong != 1 || c.Accepted != 2 || waits != nil {
		t.Errorf("counts %+v, %v", c, waits)
	}
	if left, err := s.Settle(t.Context()); left != 0 || err != nil {
		t.Errorf("%d bytes are left, %v", left, err)
	}
}

type tooLarge struct {
	*fake
	body string
}

func (f *tooLarge) SendFrom(ctx context.Context, lane string, list []agent.Message, points ...agent.Checkpoint) error {
	for i := range list {
		if string(list[i].Body) == f.body {
			return agent.ErrTooLarge
		}
	}
	return f.fake.SendFrom(ctx, lane, list, points...)
}

// What cannot be read again is given up, and counted; then it goes on.
func TestAbandon(t *testing.T) {
	f := newFake(1)
	feed, _ := NewFeed(f, nil)
	s := feed.Source("file")
	list, ends := cut("a one\nb two\n", 0, 12)
	ctx, cancel := context.WithCancel(t.Context())
	feed.to = &failing{f, "b", cancel}
	if err := s.Send(ctx, &Chunk{Messages: list, Ends: ends, To: 12}); err == nil {
		t.Fatal("no error")
	}
	feed, _ = NewFeed(f, nil)
	s = feed.Source("file")
	if left, err := s.Settle(t.Context()); left != 6 || err != nil {
		t.Fatalf("%d bytes are left, %v", left, err)
	}
	if err := s.Send(t.Context(), &Chunk{To: 20}); err == nil {
		t.Error("a chunk was sent before the last one was finished")
	}
	if n, err := s.Abandon(t.Context()); n != 6 || err != nil {
		t.Fatalf("%d bytes were given up, %v", n, err)
	}
	feed, _ = NewFeed(f, nil)
	if to, _ := feed.Source("file").Position(); to != 12 {
		t.Errorf("position %d", to)
	}
}

// failing is an Agent whose process dies when one lane is to store something.
type failing struct {
	Agent
	lane  string
	crash func()
}

func (f *failing) SendFrom(ctx context.Context, lane string, list []agent.Message, points ...agent.Checkpoint) error {
	if lane == f.lane {
		f.crash()
		return context.Canceled
	}
	return f.Agent.SendFrom(context.WithoutCancel(ctx), lane, list, points...)
}

// The newest checkpoint goes last, so that a crash between leaves no older one to
// be believed.
func TestForget(t *testing.T) {
	f := newFake(1)
	feed, _ := NewFeed(f, nil)
	s := feed.Source("file")
	for i, text := range []string{"b 1\n", "a 2\n"} {
		list, ends := cut(text, 0, 4)
		ends[0] += int64(4 * i)
		if err := s.Send(t.Context(), &Chunk{Messages: list, Ends: ends, To: ends[0]}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	feed.to = &failing{f, "a", cancel}
	if err := s.Forget(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(f.at["b"]) > 0 || len(f.at["a"]) == 0 {
		t.Errorf("the lanes remember %v", f.at)
	}
	feed, _ = NewFeed(f, nil)
	if to, _ := feed.Source("file").Position(); to != 8 {
		t.Errorf("position %d", to)
	}
	if err := feed.Source("file").Forget(t.Context()); err != nil || len(feed.Sources("")) > 0 || len(f.at["a"]) > 0 {
		t.Errorf("%v; the lanes remember %v", err, f.at)
	}
}

func TestRecordBytes(t *testing.T) {
	r := &record{n: 300, from: 10, to: 25, done: 12, note: []byte("xy"), lanes: []string{"a", "bc"}, runs: []run{{0, 2}, {-1, 3}, {1, 10}}}
	const want = "\x01\xac\x02\x0a\x0f\x02\x02xy\x02\x01a\x02bc\x01\x02\x00\x03\x02\x0a"
	if got := string(r.append(nil)); got != want {
		t.Errorf("%q", got)
	}
	back, err := parseRecord([]byte(want))
	if err != nil || string(back.append(nil)) != want {
		t.Errorf("%+v, %v", back, err)
	}
	for i := range want {
		if i == 15 { // a chunk without messages has no runs
			continue
		}
		if _, err := parseRecord([]byte(want[:i])); err == nil {
			t.Errorf("%q was understood", want[:i])
		}
	}
}

// FuzzRecord: what is read is sound, and written as it was.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("\x01\xac\x02\x0a\x0f\x02\x02xy\x02\x01a\x02bc\x01\x02\x00\x03\x02\x0a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		again, err := parseRecord(r.append(nil))
		if err != nil || again.String() != r.String() {
			t.Fatalf("%+v, then %+v, %v", r, again, err)
		}
		for _, lane := range r.lanes {
			for _, x := range r.of(lane, r.done) {
				if x.from < r.done || x.to > r.to || x.from >= x.to {
					t.Fatalf("%s: lane %s has %d to %d", r, lane, x.from, x.to)
				}
			}
		}
	})
}

// The part of lanes that are gone is begun as a chunk of its own: a crash within
// that one finishes it as it was begun, and what the first one had is left out.
func TestACrashWithinWhatIsRerouted(t *testing.T) {
	f := newFake(1)
	const text = "c 1\na 2\nc 3\nb 4\nc 5\n"
	all := func() int64 { return int64(len(text)) }
	die := func(lanes ...string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var to Agent = f
		for _, lane := range lanes {
			to = &failing{to, lane, cancel}
		}
		if err := life(ctx, to, text, all); err == nil {
			t.Fatal("it did not die")
		}
	}
	die("a", "b")
	f.lanes["a"], f.lanes["b"], f.lanes["x"], f.lanes["y"] = false, false, true, true
	f.route = func(topic string) string { return map[string]string{"a": "x", "b": "y"}[topic] }
	die("x")
	f.route = func(string) string { return "c" } // too late to matter
	if err := life(t.Context(), f, text, all); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(f.got), "map[c:[c 1 c 3 c 5] x:[a 2] y:[b 4]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
