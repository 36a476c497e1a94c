package queue

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

// aged is a message of a purge's test: its batch, and how old it is.
type aged struct {
	body  string
	batch int
	age   time.Duration
	gone  bool // acked or dropped
}

// A purge takes exactly the whole batches within its bound, of what is not acked, and
// Purgeable says so before, open and at rest. The link gets tombstones in their place.
func TestPurgeTakesWholeBatchesWithinItsBound(t *testing.T) {
	seeds := uint64(10)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 12))
			s := openSite(t, func(c *Config) { c.LiveFirst, c.SegmentSize, c.Codec = 0, minSegmentSize, wire.Codec(r.IntN(3)) })
			s.link()
			q := s.live().q
			epoch := s.Streams()[0].Epoch
			now := time.Now()
			var all []aged
			for batch := range 30 {
				var list []wire.Message
				for range 1 + r.IntN(4) {
					m := aged{body: fmt.Sprint("m", len(all)+1), batch: batch, age: time.Duration(r.IntN(10)) * time.Hour}
					all = append(all, m)
					list = append(list, wire.Message{Time: now.Add(-m.age), Body: append([]byte(m.body), make([]byte, r.IntN(6000))...)})
				}
				if err := s.Put(t.Context(), list...); err != nil {
					t.Fatal(err)
				}
				if r.IntN(8) == 0 {
					s.reopen()
					s.link()
					q = s.live().q
				}
			}
			s.take(r.IntN(6))
			s.settle()
			acked := int(s.Streams()[0].Acked)
			for i := range acked {
				all[i].gone = true
			}
			for range 3 {
				if n := r.IntN(len(all)); !all[n].gone {
					if _, err := q.Reject(t.Context(), epoch, wire.Seq(n+1), "no"); err != nil {
						t.Fatal(err)
					}
					all[n].gone = true
				}
			}
			for range 3 {
				what, in := Purge{}, func(int) bool { return true }
				switch r.IntN(5) {
				case 0, 1:
					limit := time.Duration(r.IntN(11))*time.Hour - time.Minute
					what.Older = now.Add(-limit)
					in = func(i int) bool { return all[i].age > limit }
				case 2, 3:
					n := 1 + r.IntN(len(all)+5)
					what.Before.Number = wire.Seq(n)
					in = func(i int) bool { return i+1 < n }
				default:
					if r.IntN(3) > 0 {
						continue
					}
				}
				want, kept := Purged{}, uint64(0)
				var took []int
				for i := range all {
					whole := true
					for j := range all {
						whole = whole && (all[j].batch != all[i].batch || all[j].gone || in(j))
					}
					switch {
					case all[i].gone || !in(i):
					case whole:
						want.Messages++
						took = append(took, i)
					default:
						kept++
					}
				}
				check := func(name string, p Purged, err error) {
					t.Helper()
					if err != nil || p.Messages != want.Messages || p.Unread != 0 || p.Kept != kept {
						t.Fatalf("%s of %+v: %v, %+v, want %d messages and %d kept", name, what, err, p, want.Messages, kept)
					}
					if want.Messages > 0 {
						if len(p.Streams) != 1 || p.Streams[0].Messages != want.Messages || p.Streams[0].From != wire.Seq(took[0]+1) || p.Streams[0].To != wire.Seq(took[len(took)-1]+1) || p.Streams[0].Places == 0 {
							t.Fatalf("%s of %+v: %+v, want from %d to %d", name, what, p, took[0]+1, took[len(took)-1]+1)
						}
					} else if len(p.Streams) > 0 {
						t.Fatalf("%s: %+v", name, p)
					}
				}
				p, err := s.Purgeable(t.Context(), what)
				check("purgeable", p, err)
				if err := s.Lane.Close(); err != nil {
					t.Fatal(err)
				}
				s.unchanged(func() {
					p, err := ReadPurgeable(t.Context(), s.cfg, what)
					check("at rest", p, err)
				})
				s.open()
				s.link()
				before := s.Stats().Dropped[wire.ReasonPurged]
				p, err = s.Purge(t.Context(), what)
				check("purge", p, err)
				for _, i := range took {
					all[i].gone = true
				}
				if got := s.Stats().Dropped[wire.ReasonPurged] - before; got != want.Messages {
					t.Errorf("%d counted as purged, want %d", got, want.Messages)
				}
				if r.IntN(2) == 0 {
					s.reopen() // it is on disk
					s.link()
				}
			}
			s.link()
			got := numbered(s.told())
			if len(got) != len(all)-acked {
				t.Fatalf("the link gets %d numbers of %d", len(got), len(all)-acked)
			}
			for i, got := range got {
				m := all[acked+i]
				if m.gone != (got == "purged" || got == "rejected") || !m.gone && !strings.HasPrefix(got, m.body+"\x00") && got != m.body {
					t.Errorf("number %d is %.10q, want %+v", acked+i+1, got, m)
				}
			}
		})
	}
}

// numbered is told of one stream with a string for each number.
func numbered(told []string) (out []string) {
	for _, s := range told {
		name, what, _ := strings.Cut(s, ":")
		from, to, gone := strings.Cut(name, "-")
		if !gone {
			to = from
		}
		var a, b int
		fmt.Sscan(from, &a)
		fmt.Sscan(to, &b)
		for ; a <= b; a++ {
			out = append(out, what)
		}
	}
	return out
}

// Of a lane with several streams a time and no bound are for all of them, a number is
// for its own.
func TestPurgeOfSeveralStreams(t *testing.T) {
	s := openSite(t)
	s.put(5)
	s.link()
	s.outage()
	s.link()
	s.put(3)
	if len(s.list()) != 2 {
		t.Fatalf("%d streams", len(s.list()))
	}
	want := func(what Purge, messages uint64, streams int) {
		t.Helper()
		if p, err := s.Purge(t.Context(), what); err != nil || p.Messages != messages || len(p.Streams) != streams {
			t.Fatalf("purge of %+v: %+v, %v", what, p, err)
		}
	}
	want(Purge{Before: MessageID{0, 3}}, 2, 1)
	want(Purge{Before: MessageID{1, 2}}, 1, 1)
	want(Purge{Before: MessageID{7, 2}}, 0, 0)
	want(Purge{Older: base}, 0, 0)
	if got, want := s.held(MessageID{}, false), []string{"1-2:purged", "3:m3", "4:m4", "5:m5", "1.1-1:purged", "1.2:m7", "1.3:m8"}; !slices.Equal(joined(got), want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	want(Purge{Older: base.Add(1)}, 5, 2)
	want(Purge{}, 0, 0)
	if _, err := s.Purge(t.Context(), Purge{Before: MessageID{0, 3}, Older: base}); err == nil {
		t.Error("two bounds at once")
	}
	s.link()
	s.take(1000)
	for _, got := range s.got {
		for _, g := range got {
			if g != "purged" {
				t.Errorf("the link got %v", s.got)
			}
		}
	}
}

// What a purge leaves nothing of gives its room back.
func TestPurgeGivesRoomBack(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst, c.SegmentSize = 0, minSegmentSize })
	for range 40 {
		if err := s.Put(t.Context(), wire.Message{Time: base, Body: make([]byte, 20<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Stats()
	if _, err := s.Purge(t.Context(), Purge{Before: MessageID{0, 21}}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments > before.Segments/2+2 || st.BacklogBytes < before.BacklogBytes/2-20<<10 || st.BacklogBytes > before.BacklogBytes/2+20<<10 {
		t.Errorf("before %+v, with half of it %+v", before, st)
	}
	if _, err := s.Purge(t.Context(), Purge{}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Segments != 1 || st.DiskBytes > minSegmentSize || before.Segments < 10 || st.Backlog != 0 {
		t.Errorf("before %+v, after %+v", before, st)
	}
}

// A purge whose bounds lie in very many places drops so many and says so.
func TestPurgeOfScatteredMessages(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
	const count = 300
	for i := range count {
		if err := s.Put(t.Context(), wire.Message{Time: base.Add(time.Duration(i%2) * time.Hour), Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	commits := s.Stats().Commits
	p, err := s.Purge(t.Context(), Purge{Older: base.Add(time.Minute)})
	if err != nil || p.Messages != count/2 || p.Streams[0].Places != count/2 {
		t.Fatalf("%+v, %v", p, err)
	}
	if n := s.Stats().Commits - commits; n > count/2/purgeAtOnce+1 {
		t.Errorf("%d commits", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Purge(ctx, Purge{Older: base.Add(2 * time.Hour)}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// A crash ahead of any step of a purge leaves all of a commit's tombstones or none,
// and no message in between.
func TestAPurgeAtEveryStep(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
	s.put(2)
	s.link()
	s.take(2)
	s.settle()
	s.put(2)
	s.put(2)
	epoch := s.Streams()[0].Epoch
	steps, dirs := s.pictures(func() {
		if p, err := s.Purge(t.Context(), Purge{Before: MessageID{0, 5}}); err != nil || p.Messages != 2 {
			t.Fatalf("%+v, %v", p, err)
		}
	})
	if len(dirs) == 0 {
		t.Fatal("no steps")
	}
	w := s.w[epoch]
	for i, dir := range append(dirs, s.cfg.Dir) {
		if i == len(dirs) {
			s.Lane.Close()
			steps = append(steps, "nothing")
		}
		c := openSite(t, func(c *Config) { c.Dir, c.LiveFirst = dir, 0 })
		c.w[epoch] = w
		c.link()
		c.take(1000)
		got := fmt.Sprint(c.got[epoch])
		if got != "[m3 m4 m5 m6]" && got != "[purged purged m5 m6]" || i == len(dirs) && got != "[purged purged m5 m6]" {
			t.Errorf("crash before %s: %s", steps[i], got)
		}
		c.Lane.Close()
	}
}

// A purge that the disk does not confirm says so; whatever became of it, the opening
// after it has one of both.
func TestAPurgeOfUnknownOutcome(t *testing.T) {
	l := openLane(t)
	l.put(1, 4)
	l.faults.fail(afterCommit, errors.New("EIO"))
	l.faults.fail(onDirSync, errors.New("EIO"))
	n, err := l.purge(context.Background(), []span{{1, 2}})
	if n != 0 || !errors.Is(err, ErrUncertain) {
		t.Fatalf("%d, %v", n, err)
	}
	l.faults.disarm()
	l.crash()
	l.welcome(storeA, wire.Match{})
	if got := fmt.Sprint(l.drain(1)); got != "[m1 m2 m3 m4]" && got != "[purged purged m3 m4]" {
		t.Errorf("got %s", got)
	}
}

// A purge is what a full disk needs most: it uses the ballast.
func TestPurgeOnAFullDisk(t *testing.T) {
	l := openLane(t)
	l.put(1, 4)
	l.faults.fail(beforeCommit, errRoom)
	if n, err := l.purge(t.Context(), []span{{1, 3}}); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	l.crash()
	l.welcome(storeA, wire.Match{})
	l.want(1, "purged", "purged", "purged", "m4")
}

// What is acked after a purge was begun stays acked; a number is dropped once.
func TestPurgeOfWhatIsSettledMeanwhile(t *testing.T) {
	l := openLane(t)
	l.put(1, 6)
	l.welcome(storeA, wire.Match{})
	l.Ack(l.epoch(), 2)
	if _, err := l.Drop(t.Context(), 4, 4, wire.ReasonExpired); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{2, 0} {
		if n, err := l.purge(t.Context(), []span{{1, 2}, {2, 5}, {9, 12}}); n != want || err != nil {
			t.Fatalf("%d, %v, want %d", n, err, want)
		}
	}
	l.want(3, "purged", "expired", "purged", "m6")
	v := l.view(0)
	defer v.close()
	v.settled = 4
	c := v.contents()
	slices.SortFunc(c.Dropped, func(a, b DropCount) int { return int(a.Reason) - int(b.Reason) })
	if d := c.Dropped; len(d) != 2 || d[0].Numbers != 1 || d[0].Pending != 0 || d[1].Numbers != 2 || d[1].Pending != 1 || d[1].From != 3 || d[1].To != 5 || d[1].Ranges != 2 {
		t.Errorf("%+v", d)
	}
}
