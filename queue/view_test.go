package queue

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// picture is what a folder is on disk: names, sizes, times and content of all.
func picture(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			all = append(all, name)
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		all = append(all, fmt.Sprintf("%s %d %s %x", name, info.Size(), info.ModTime(), sha256.Sum256(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged calls f, which must not change the lane's folder.
func (s *site) unchanged(f func()) {
	s.t.Helper()
	before := picture(s.t, s.cfg.Dir)
	f()
	if after := picture(s.t, s.cfg.Dir); !slices.Equal(before, after) {
		s.t.Fatalf("the folder was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// collect returns a function for Messages and what it was given: "stream.number:body",
// or "stream.from-to:reason".
func collect(t testing.TB) (func(Item) error, *[]string) {
	var got []string
	return func(it Item) error {
		switch {
		case it.Trouble != nil:
			got = append(got, fmt.Sprintf("%s-%d:unreadable", it.ID, it.To))
		case it.Reason != 0:
			got = append(got, fmt.Sprintf("%s-%d:%s", it.ID, it.To, it.Reason))
		default:
			if it.To != it.ID.Number || it.Epoch.IsZero() {
				t.Errorf("item %+v", it)
			}
			got = append(got, fmt.Sprintf("%s:%s", it.ID, it.Message.Body))
		}
		return nil
	}, &got
}

// held returns what Messages shows of the open lane.
func (s *site) held(from MessageID, acked bool) []string {
	s.t.Helper()
	yield, got := collect(s.t)
	if err := s.Messages(s.t.Context(), from, acked, yield); err != nil {
		s.t.Fatal(err)
	}
	return *got
}

// heldAtRest returns what ReadMessages shows of the folder, and its error.
func (s *site) heldAtRest(from MessageID, acked bool) ([]string, error) {
	yield, got := collect(s.t)
	err := ReadMessages(s.t.Context(), s.cfg, from, acked, yield)
	return *got, err
}

// told returns what Next has for a link, as held returns it: it is what must be shown
// of what no store has acked.
func (s *site) told() (want []string) {
	s.t.Helper()
	for _, st := range s.numbered() {
		q := st.q
		said := q.Streams()[0]
		for n := q.settledNow() + 1; n < said.Next; {
			e, ok, err := q.Next(said.Epoch, n)
			if err != nil || !ok {
				s.t.Fatalf("next %d: %v, %v", n, ok, err)
			}
			if e.IsTombstone() {
				want = append(want, fmt.Sprintf("%s-%d:%s", MessageID{st.number, e.From}, e.To, e.Reason))
			} else {
				b, _ := e.Check()
				for r, err := range b.Records() {
					if err != nil {
						s.t.Fatal(err)
					}
					if m, _ := r.Record.Message(); r.Seq >= e.From && r.Seq <= e.To {
						want = append(want, fmt.Sprintf("%s:%s", MessageID{st.number, r.Seq}, m.Body))
					}
				}
			}
			n = e.To + 1
		}
	}
	return want
}

func (q *Queue) settledNow() wire.Seq {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.settled()
}

// joined joins tombstones that stand side by side, which a link gets in parts.
func joined(list []string) (out []string) {
	var stream, from, to uint64
	reason := ""
	flush := func() {
		if reason != "" {
			out = append(out, fmt.Sprintf("%s-%d:%s", MessageID{stream, wire.Seq(from)}, to, reason))
		}
		reason = ""
	}
	for _, s := range list {
		name, rest, _ := strings.Cut(s, ":")
		id, end, gone := strings.Cut(name, "-")
		if !gone {
			flush()
			out = append(out, s)
			continue
		}
		str, n, _ := parsePair([]byte(id))
		var last uint64
		fmt.Sscan(end, &last)
		if reason == rest && str == stream && n == to+1 {
			to = last
			continue
		}
		flush()
		stream, from, to, reason = str, n, last, rest
	}
	flush()
	return out
}

// What is shown of a lane, open or at rest, is what the link would get, whatever its
// history: several streams, tombstones of all kinds, refusals, openings. Looking
// changes nothing in the folder.
func TestMessagesAreWhatTheLinkGets(t *testing.T) {
	seeds := uint64(8)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			s := openSite(t, func(c *Config) { c.SegmentSize = minSegmentSize; c.Codec = wire.Codec(r.IntN(3)) })
			for range 40 {
				s.step(r)
			}
			s.settle()
			want := joined(s.told())
			tail, before := s.live().q.files.tail, picture(t, s.cfg.Dir)
			if got := joined(s.held(MessageID{}, false)); !slices.Equal(got, want) {
				t.Fatalf("open: got\n%q\nwant\n%q", got, want)
			}
			all := s.held(MessageID{}, true)
			s.checkContents(s.Contents(), want)
			// From any place on it is the rest.
			for _, i := range []int{0, len(all) / 2, len(all) - 1} {
				if i < 0 || len(all) == 0 {
					continue
				}
				var id MessageID
				name, _, _ := strings.Cut(all[i], ":")
				name, _, _ = strings.Cut(name, "-")
				if err := id.UnmarshalText([]byte(name)); err != nil {
					t.Fatal(err)
				}
				if got := s.held(id, true); !slices.Equal(got, all[i:]) {
					t.Fatalf("from %s: got\n%q\nwant\n%q", id, got, all[i:])
				}
			}
			if after := picture(t, s.cfg.Dir); !slices.Equal(before, after) || s.live().q.files.tail != tail || tail.broken() != nil {
				t.Fatalf("looking has changed the open lane: %v", tail.broken())
			}
			if err := s.Lane.Close(); err != nil {
				t.Fatal(err)
			}
			s.unchanged(func() {
				got, err := s.heldAtRest(MessageID{}, false)
				if err != nil || !slices.Equal(joined(got), want) {
					t.Fatalf("at rest: %v, got\n%q\nwant\n%q", err, got, want)
				}
				c, err := ReadContents(s.cfg)
				if err != nil {
					t.Fatal(err)
				}
				s.checkContents(c, want)
			})
		})
	}
}

// step does something to a lane at random.
func (s *site) step(r *rand.Rand) {
	s.t.Helper()
	live := s.live()
	said := live.q.Streams()[0]
	switch r.IntN(12) {
	case 0, 1, 2, 3:
		var list []wire.Message
		for range 1 + r.IntN(5) {
			m := msg(fmt.Sprint("m", s.next))
			m.Body = append(m.Body, make([]byte, r.IntN(3)*r.IntN(4000))...)
			list = append(list, m)
			s.next++
		}
		if err := s.Put(s.t.Context(), list...); err != nil {
			s.t.Fatal(err)
		}
	case 4, 5:
		s.link()
		s.take(1 + r.IntN(6))
	case 6:
		n := said.Acked + 1 + wire.Seq(r.IntN(6))
		if _, err := live.q.Reject(s.t.Context(), said.Epoch, n, "no"); err != nil {
			s.t.Fatal(err)
		}
	case 7:
		n := said.Acked + wire.Seq(r.IntN(12))
		reason := []wire.Reason{wire.ReasonExpired, wire.ReasonOverflow}[r.IntN(2)]
		if _, err := live.q.Drop(s.t.Context(), n, n+wire.Seq(r.IntN(8)), reason); err != nil {
			s.t.Fatal(err)
		}
	case 8:
		if _, err := s.Purge(s.t.Context(), Purge{Before: MessageID{live.number, said.Acked + wire.Seq(1+r.IntN(5))}}); err != nil {
			s.t.Fatal(err)
		}
	case 9:
		s.settle()
		s.reopen()
	case 10:
		s.outage()
		s.link()
	case 11:
		s.put(3)
	}
}

// checkContents compares figures with what the lane shows of what is not acked.
func (s *site) checkContents(c Contents, want []string) {
	s.t.Helper()
	messages, pending := uint64(0), uint64(0)
	for _, w := range want {
		name, _, _ := strings.Cut(w, ":")
		first, last, gone := strings.Cut(name, "-")
		if !gone {
			messages++
			continue
		}
		_, from, _ := parsePair([]byte(first))
		var to uint64
		fmt.Sscan(last, &to)
		pending += to - from + 1
	}
	held, backlog, told := uint64(0), uint64(0), uint64(0)
	for _, st := range c.Streams {
		for i, f := range st.Files {
			if f.Bytes == 0 || f.Made.IsZero() || f.Damage != "" || f.Tail != (i == len(st.Files)-1) {
				s.t.Errorf("file %+v", f)
			}
			held += f.Held
		}
		for _, d := range st.Dropped {
			told += d.Pending
		}
		backlog += st.Stats.Backlog
	}
	if held != messages || backlog != messages || c.Stats.Backlog != messages || told != pending || len(c.Damage) > 0 {
		s.t.Errorf("%d messages wait, files hold %d, streams %d, the lane %d; %d dropped numbers wait, %d by the figures; damage %q", messages, held, backlog, c.Stats.Backlog, pending, told, c.Damage)
	}
}

// Looking beside a writer and a sender that go on sees each number once, in order,
// and nothing that cannot be read.
func TestMessagesBesideAWriter(t *testing.T) {
	s := openSite(t, func(c *Config) { c.SegmentSize, c.LiveFirst = minSegmentSize, 0 })
	s.link()
	count := 300
	if testing.Short() {
		count = 120
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range count {
			if err := s.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, 2000)}); err != nil {
				t.Error(err)
				return
			}
			if i%3 == 0 {
				q := s.live().q
				said := q.Streams()[0]
				if said.Next > said.Acked+20 {
					s.Ack(said.Epoch, said.Next-10)
				}
			}
		}
	}()
	for going := true; going; {
		select {
		case <-ended:
			going = false
		default:
		}
		last := wire.Seq(0)
		err := s.Messages(t.Context(), MessageID{}, true, func(it Item) error {
			if it.Trouble != nil || it.Reason != 0 || last > 0 && it.ID.Number < last+1 {
				t.Errorf("after %d: %+v", last, it)
			}
			last = it.To
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range s.Contents().Damage {
			t.Errorf("damage: %s", d)
		}
	}
	if st := s.Stats(); st.Oldest < wire.Seq(count/2) {
		t.Errorf("no files went meanwhile: %+v", st)
	}
}

// A damaged folder shows what an opening would deliver of it, says what is wrong, and
// stays as it is.
func TestMessagesOfADamagedFolder(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, s *site, file func(int) string){
		"an older segment": func(t *testing.T, s *site, file func(int) string) { wreck(t, file(0)) },
		"the newest":       func(t *testing.T, s *site, file func(int) string) { wreck(t, file(-1)) },
		"all": func(t *testing.T, s *site, file func(int) string) {
			wreck(t, file(0))
			wreck(t, file(1))
			wreck(t, file(-1))
		},
		"a batch": func(t *testing.T, s *site, file func(int) string) { flip(t, file(1), "m6") },
		"a missing one": func(t *testing.T, s *site, file func(int) string) {
			if err := os.Remove(file(1)); err != nil {
				t.Fatal(err)
			}
		},
		"a short one": func(t *testing.T, s *site, file func(int) string) {
			if err := os.Truncate(file(-1), 5000); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
			s.put(4)
			s.reopenAfresh()
			s.put(4)
			s.reopenAfresh()
			s.put(4)
			s.Lane.Close()
			segs, _, _ := list(s.cfg.Dir)
			harm(t, s, func(i int) string {
				if i < 0 {
					i += len(segs)
				}
				return filepath.Join(s.cfg.Dir, segs[i].name())
			})
			var got []string
			var err error
			s.unchanged(func() {
				got, err = s.heldAtRest(MessageID{}, false)
				c, cerr := ReadContents(s.cfg)
				if name != "a batch" && (cerr != nil || len(c.Damage) == 0) {
					t.Errorf("contents: %v, damage %q", cerr, c.Damage)
				}
			})
			lost := slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, ":unreadable") })
			if !lost && err == nil && name != "an older segment" {
				t.Error("nothing is said to be wrong")
			}
			var shown []string
			for _, g := range got {
				if !strings.HasSuffix(g, ":unreadable") {
					shown = append(shown, g)
				}
			}
			// The opening is the judge.
			s.open()
			s.link()
			var want []string
			for _, w := range s.told() {
				if !strings.Contains(w, "-") {
					want = append(want, w)
				}
			}
			if !slices.Equal(shown, want) {
				t.Errorf("shown\n%q, the opening has\n%q; not shown: %q", shown, want, got)
			}
		})
	}
}

// reopenAfresh opens the lane again with another segment.
func (s *site) reopenAfresh() {
	s.t.Helper()
	s.reopen()
	q := s.live().q
	if err := q.do(s.t.Context(), func(c *change) (bool, error) { return true, q.rotate(c) }); err != nil {
		s.t.Fatal(err)
	}
}

// A folder of another agent is shown, and said to be another's.
func TestContentsOfAForeignFolder(t *testing.T) {
	s := openSite(t)
	s.put(3)
	s.Lane.Close()
	s.cfg.Agent = "pump-8"
	s.unchanged(func() {
		got, err := s.heldAtRest(MessageID{}, false)
		if want := []string{"1:m1", "2:m2", "3:m3"}; err == nil || !strings.Contains(err.Error(), `of agent "pump-7", not "pump-8"`) || !slices.Equal(got, want) {
			t.Errorf("%v, got %q", err, got)
		}
		c, err := ReadContents(s.cfg)
		if err != nil || len(c.Damage) == 0 || c.Stats.Backlog != 3 {
			t.Errorf("%v, %+v", err, c)
		}
	})
	s.cfg.Dir = t.TempDir()
	if _, err := ReadContents(s.cfg); err == nil {
		t.Error("an empty folder has contents")
	}
}

func TestMessageIDText(t *testing.T) {
	for text, want := range map[string]MessageID{"1": {0, 1}, "4711": {0, 4711}, "2.17": {2, 17}, "0": {}} {
		var id MessageID
		if err := id.UnmarshalText([]byte(text)); err != nil || id != want || id.String() != text {
			t.Errorf("%q: %+v, %v", text, id, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.", ".1", "1.2.3", "01", "0.1", " 1", "18446744073709551616"} {
		id := MessageID{7, 7}
		if err := id.UnmarshalText([]byte(text)); err == nil || !reflect.DeepEqual(id, MessageID{7, 7}) {
			t.Errorf("%q: %+v, %v", text, id, err)
		}
	}
}
