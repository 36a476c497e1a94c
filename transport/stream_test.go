package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// oneLane returns a lane of one stream with so many numbers, three in a batch.
func oneLane(count, window int) (*fakeSource, *lane, *stream) {
	src := newSource("default", 10, count)
	l := &lane{source: src, name: "default", window: window, fragment: 1 << 20}
	e := src.streams[0].epoch
	s := newStream(l, 1, wire.Resume{Epoch: e, Next: wire.Seq(count) + 1})
	l.streams = []*stream{s}
	return src, l, s
}

// frame returns the lane's next frame, if there is one to send now.
func frame(l *lane) (buf []byte, ok bool, err error) {
	if ok, err = l.ready(time.Now()); ok {
		buf, _ = l.frame(nil)
	}
	return buf, ok, err
}

// send sends all that may be sent now and returns it.
func send(t *testing.T, l *lane) (list []wire.Entry) {
	t.Helper()
	for {
		buf, ok, err := frame(l)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return list
		}
		_, e, size, batch, err := wire.ParseData(buf[9:])
		if err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			e.Batch = slices.Clone(batch)
		}
		list = append(list, e)
	}
}

func ranges(list []wire.Entry) string {
	var b strings.Builder
	for i := range list {
		fmt.Fprintf(&b, " %d-%d", list[i].From, list[i].To)
		if list[i].IsTombstone() {
			b.WriteString("!")
		}
	}
	return strings.TrimSpace(b.String())
}

// Each line: an answer, and what is sent after it.
func TestRule9And10Answers(t *testing.T) {
	type step struct {
		answer string // "ack 3", "reject 5"
		sent   string
	}
	for _, tt := range []struct {
		name  string
		count int
		steps []step
	}{
		{"acks make room in the window", 15, []step{{"", "1-3 4-6 7-9"}, {"ack 3", "10-12"}, {"ack 9", "13-15"}, {"ack 15", ""}}},
		{"a gap rewinds once, however many answers it has", 12, []step{{"", "1-3 4-6 7-9"}, {"ack 0", ""}, {"ack 0", ""}, {"ack 0", ""}}},
		{"a refusal rewinds, and the stale answers do not again", 9, []step{
			{"", "1-3 4-6 7-9"}, {"reject 2", "1-1"}, {"ack 0", ""}, {"ack 0", ""}, {"ack 1", "2-2! 3-3 4-6"}, {"ack 2", "7-9"}, {"ack 3", ""}, {"ack 6", ""}, {"ack 9", ""}}},
		{"a refusal above W, in the middle of what is on its way", 9, []step{
			{"", "1-3 4-6 7-9"}, {"ack 3", ""}, {"reject 6", "4-5"}, {"ack 3", ""}, {"ack 5", "6-6! 7-9"}, {"ack 6", ""}, {"ack 9", ""}}},
		{"refusals in a row cost one entry each", 9, []step{
			{"", "1-3 4-6 7-9"}, {"reject 1", "1-1!"}, {"ack 0", ""}, {"ack 0", ""}, {"ack 1", "2-3"}, {"reject 2", "2-2!"}, {"ack 2", "3-3"}, {"reject 3", "3-3!"}, {"ack 3", "4-6"}, {"ack 6", "7-9"}, {"ack 9", ""}}},
		{"a straddling entry ends where the batch ends", 6, []step{{"", "1-3 4-6"}, {"ack 2", ""}, {"ack 2", "3-3"}, {"ack 3", "4-6"}, {"ack 6", ""}}},
		{"an answer that is about nothing on its way changes nothing", 6, []step{{"", "1-3 4-6"}, {"ack 3", ""}, {"ack 3", ""}, {"ack 6", ""}, {"ack 6", ""}}},
		{"acks may be merged", 18, []step{{"", "1-3 4-6 7-9"}, {"ack 9", "10-12 13-15 16-18"}, {"ack 18", ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, l, s := oneLane(tt.count, 3*(entryCost+250))
			for i, st := range tt.steps {
				what, number, _ := strings.Cut(st.answer, " ")
				var n wire.Seq
				fmt.Sscan(number, &n)
				var err error
				switch what {
				case "ack":
					err = s.ack(n)
				case "reject":
					_, err = s.reject(t.Context(), n, "no")
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := ranges(send(t, l)); got != st.sent {
					t.Fatalf("step %d %q: sent %q, want %q", i, st.answer, got, st.sent)
				}
			}
			if got, want := src.streams[0].acked, s.w; got != want {
				t.Errorf("the source knows of %d acked, the stream of %d", got, want)
			}
		})
	}
}

func TestAnswersThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *stream) error
	}{
		{"ack below an earlier one", func(s *stream) error { return s.ack(2) }},
		{"ack of what was not sent", func(s *stream) error { return s.ack(10) }},
		{"refusal of what is acked", func(s *stream) error {
			_, err := s.reject(context.Background(), 3, "")
			return err
		}},
		{"refusal of what was not sent", func(s *stream) error {
			_, err := s.reject(context.Background(), 10, "")
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, l, s := oneLane(30, 3*(entryCost+250))
			send(t, l)
			if err := s.ack(3); err != nil {
				t.Fatal(err)
			}
			err := tt.do(s)
			var f *failure
			if !errors.As(err, &f) || f.cause != CauseProtocol {
				t.Errorf("error %v", err)
			}
			if src.streams[0].acked != 3 || len(src.rejects) != 0 {
				t.Errorf("it reached the source: acked %d, rejects %v", src.streams[0].acked, src.rejects)
			}
		})
	}
}

func TestAnEntryLargerThanTheWindowGoesAlone(t *testing.T) {
	_, l, s := oneLane(9, 50)
	for _, want := range []wire.Seq{3, 6, 9} {
		if got := send(t, l); len(got) != 1 || got[0].To != want {
			t.Fatalf("sent %s", ranges(got))
		}
		if err := s.ack(want); err != nil {
			t.Fatal(err)
		}
	}
}

// A rewind in the middle of a batch: the frames of that batch come first.
func TestARewindFinishesTheBatchThatIsHalfSent(t *testing.T) {
	_, l, s := oneLane(9, 1<<20)
	l.fragment = 50
	var frames []wire.Type
	one := func() {
		buf, ok, err := frame(l)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		frames = append(frames, wire.Type(buf[4]))
	}
	for l.cur == nil || s.send == 4 { // the whole of 1-3 and one frame of 4-6
		one()
	}
	if _, err := s.reject(t.Context(), 2, "no"); err != nil {
		t.Fatal(err)
	}
	frames = nil
	for s.send == 1 {
		one()
	}
	last := len(frames) - 1
	if last < 2 || slices.Contains(frames[:last], wire.TypeData) || frames[last] != wire.TypeData || s.send != 2 {
		t.Errorf("frames after the refusal %v, send position %d", frames, s.send)
	}
}

// cost returns what a list counts against the window.
func cost(list []wire.Entry) (n int) {
	for i := range list {
		n += entryCost + len(list[i].Batch)
	}
	return n
}

// TestAnswersRandom plays streams against a store that refuses numbers, merges
// answers, leaves out answers to what it discards, and answers out of nothing.
// Everything must be settled, and little sent twice.
func TestAnswersRandom(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 3))
		count := 3 + r.IntN(120)
		inWindow := 1 + r.IntN(8)
		src, l, s := oneLane(count, inWindow*(entryCost+250))
		refuse := map[wire.Seq]bool{}
		for range r.IntN(5) {
			refuse[1+wire.Seq(r.IntN(count))] = true
		}
		merge, omit, noise := r.IntN(2) == 0, r.IntN(4) == 0, r.IntN(4) == 0
		var way []wire.Entry
		var answers []event
		w, sends := wire.Seq(0), 0
		bad := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("seed %d (%d numbers, window %d, refused %v, merge %v omit %v noise %v): %s", seed, count, inWindow, refuse, merge, omit, noise, fmt.Sprintf(format, args...))
		}
		for quiet := 0; !src.delivered(); {
			before := sends
			switch r.IntN(3) {
			case 0:
				list := send(t, l)
				way, sends = append(way, list...), sends+len(list)
				if bytes := cost(way); bytes > 2*l.window+entryCost+250 {
					bad("%d bytes on their way, two windows are %d", bytes, 2*l.window)
				}
			case 1:
				if len(way) == 0 {
					break
				}
				e := way[0]
				way = way[1:]
				quiet = 0
				a := event{n: w}
				switch {
				case e.From > w+1 || e.To <= w:
					if omit {
						continue
					}
				default:
					for n := w + 1; n <= e.To && !e.IsTombstone(); n++ {
						if refuse[n] {
							a = event{n: n, reject: true}
							break
						}
					}
					if !a.reject {
						w = e.To
						a.n = w
					}
				}
				if k := len(answers) - 1; merge && k >= 0 && !a.reject && !answers[k].reject && answers[k].n < a.n {
					answers[k] = a
				} else {
					answers = append(answers, a)
				}
				if noise && r.IntN(20) == 0 {
					answers = append(answers, event{n: w})
				}
			case 2:
				if len(answers) == 0 {
					break
				}
				a := answers[0]
				answers = answers[1:]
				quiet = 0
				var err error
				if a.reject {
					_, err = s.reject(t.Context(), a.n, "")
				} else {
					err = s.ack(a.n)
				}
				if err != nil {
					bad("%v", err)
				}
			}
			if len(way) == 0 && len(answers) == 0 && sends == before {
				if quiet++; quiet > 100 {
					bad("stuck at W %d, send %d", w, s.send)
				}
			}
		}
		if limit := (count+2)/3 + len(refuse)*(inWindow+4); sends > limit {
			bad("%d entries sent, at most %d are needed", sends, limit)
		}
		for len(way) > 0 || len(answers) > 0 { // what is left answers nothing
			if len(answers) == 0 {
				answers, way = append(answers, event{n: w}), way[1:]
			}
			a := answers[0]
			answers = answers[1:]
			if err := s.ack(a.n); err != nil {
				bad("%v", err)
			}
		}
		if list := send(t, l); len(list) > 0 {
			bad("sends %s when all is delivered", ranges(list))
		}
		if l.inflight != 0 {
			bad("%d bytes on their way when all is delivered", l.inflight)
		}
	}
}
