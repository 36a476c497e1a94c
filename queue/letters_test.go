package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// refuse lets the store refuse a number of a stream for good.
func (s *site) refuse(epoch wire.Epoch, n wire.Seq) {
	s.t.Helper()
	if _, err := s.Reject(context.Background(), epoch, n, fmt.Sprint("no ", n)); err != nil {
		s.t.Fatal(err)
	}
}

// dead returns the dead letters as "name:body".
func (s *site) dead() (out []string) {
	s.t.Helper()
	collect := func(l Letter) error {
		if l.Why != fmt.Sprint("no ", l.Number) || l.Time.IsZero() || l.Epoch.IsZero() {
			s.t.Errorf("letter %+v", l)
		}
		out = append(out, fmt.Sprintf("%s:%s", l.ID, l.Message.Body))
		return nil
	}
	if err := s.Letters(context.Background(), LetterID{}, collect); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) wantDead(want ...string) {
	s.t.Helper()
	if got := s.dead(); !slices.Equal(got, want) {
		s.t.Fatalf("dead letters %q, want %q", got, want)
	}
	if st := s.Stats(); st.LettersKept != uint64(len(want)) {
		s.t.Fatalf("%d letters are kept by the figures, %d are there", st.LettersKept, len(want))
	}
}

func ids(t testing.TB, list ...string) (out []LetterID) {
	t.Helper()
	for _, text := range list {
		var id LetterID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		out = append(out, id)
	}
	return out
}

// Dead letters are listed once each wherever they lie, put again as new messages,
// and forgotten; an opening changes none of that.
func TestRule10DeadLettersAreRetriedAndDiscarded(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
	s.put(4)
	s.link()
	epoch := s.Streams()[0].Epoch
	s.refuse(epoch, 2)
	s.reopen() // a new segment, at times
	s.refuse(epoch, 3)
	s.put(1)
	s.refuse(epoch, 5)
	s.wantDead("0:m2", "1:m3", "2:m5")

	// The letters of a segment that goes are in the folder dead.
	s.link()
	s.take(100)
	s.settle()
	q := s.live().q
	if err := q.do(t.Context(), func(c *change) (bool, error) { c.fresh, q.rotateAt = true, 0; return true, nil }); err != nil {
		t.Fatal(err)
	}
	s.wantDead("0:m2", "1:m3", "2:m5")

	if err := s.Retry(t.Context(), ids(t, "2", "0")...); err != nil {
		t.Fatal(err)
	}
	s.wantDead("1:m3")
	for _, id := range []string{"0", "7", "3.1"} {
		if err := s.Retry(t.Context(), ids(t, "1", id)...); !errors.Is(err, ErrNoLetter) {
			t.Errorf("retry of 1 and %s: %v", id, err)
		}
		if err := s.Discard(t.Context(), ids(t, "1", id)...); !errors.Is(err, ErrNoLetter) {
			t.Errorf("discard of 1 and %s: %v", id, err)
		}
	}
	s.wantDead("1:m3")
	s.take(100)
	if got := s.got[epoch]; !slices.Equal(got[len(got)-2:], []string{"m2", "m5"}) {
		t.Errorf("got %v", got)
	}
	s.settle()
	s.reopen()
	s.wantDead("1:m3")
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	var rest []string
	if err := ReadLetters(t.Context(), s.cfg.Dir, LetterID{}, func(l Letter) error { rest = append(rest, l.ID.String()); return nil }); err != nil || !slices.Equal(rest, []string{"1"}) {
		t.Errorf("at rest: %v, %v", rest, err)
	}
	if st, err := ReadStats(s.cfg.Dir); err != nil || st.LettersKept != 1 || st.DeadLetters != 3 {
		t.Errorf("at rest: %+v, %v", st, err)
	}
	s.open()
	if err := s.Discard(t.Context(), ids(t, "1")...); err != nil {
		t.Fatal(err)
	}
	s.wantDead()
	if files := s.live().q.files.shelved(); len(files) > 0 {
		t.Errorf("files without letters stay: %v", files)
	}
	if st := s.Stats(); st.Accepted != 7 || st.DeadLetters != 3 || st.LettersLost != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// A crash ahead of any step of a retry leaves either the letter or the message,
// never both and never none.
func TestARetryAtEveryStep(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
	s.put(2)
	s.link()
	epoch := s.Streams()[0].Epoch
	s.refuse(epoch, 2)
	s.take(100)
	s.settle()
	steps, dirs := s.pictures(func() {
		if err := s.Retry(t.Context(), ids(t, "0")...); err != nil {
			t.Fatal(err)
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
		c.take(100)
		letters, messages := len(c.dead()), len(c.got[epoch])
		if letters+messages != 1 || i == len(dirs) && messages != 1 {
			t.Errorf("ahead of %s: %d letters and %d messages", steps[i], letters, messages)
		}
		c.Lane.Close()
	}
}

// There are never more dead letters than the bound, and the oldest go.
func TestDeadLettersAreBounded(t *testing.T) {
	defer func(n uint64, b int64) { maxLetters, maxLetterBytes = n, b }(maxLetters, maxLetterBytes)
	maxLetters = 10
	s := openSite(t, func(c *Config) { c.LiveFirst, c.SegmentSize = 0, minSegmentSize })
	s.link()
	epoch := s.Streams()[0].Epoch
	for i := range 25 {
		s.put(2)
		s.refuse(epoch, wire.Seq(2*i+2))
		if n := len(s.dead()); n > 10 || n < min(i, 9) {
			t.Fatalf("%d letters after %d refusals", n, i+1)
		}
		if i == 12 {
			s.reopen()
		}
		s.take(100)
	}
	list := s.dead()
	if last := list[len(list)-1]; last != "24:m50" {
		t.Errorf("the newest is %s", last)
	}
	if st := s.Stats(); st.DeadLetters != 25 || st.LettersLost != 25-uint64(len(list)) {
		t.Errorf("stats: %+v", st)
	}
	maxLetterBytes = 3000
	body := strings.Repeat("x", 1000)
	for range 5 {
		if err := s.Put(t.Context(), msg(body)); err != nil {
			t.Fatal(err)
		}
		s.refuse(epoch, s.Streams()[0].Next-1)
	}
	if n := len(s.dead()); n != 2 {
		t.Errorf("%d letters of 1000 bytes in 3000", n)
	}
}

// Letters of several streams have their own names, in the order of these whatever
// stream takes puts, and stay where they are when that changes.
func TestDeadLettersOfSeveralStreams(t *testing.T) {
	s := openSite(t)
	s.put(1)
	s.outage()
	s.link()
	s.take(100)
	s.settle()
	s.put(2)
	first, second := s.Streams()[0].Epoch, s.Streams()[1].Epoch
	s.refuse(second, 2)
	s.wantDead("1.0:m3")
	s.outage()
	s.link() // the first takes puts
	s.put(1)
	s.refuse(first, 2)
	s.wantDead("0:m4", "1.0:m3")
	s.reopen()
	s.wantDead("0:m4", "1.0:m3")
	if err := s.Retry(t.Context(), ids(t, "1.0")...); err != nil {
		t.Fatal(err)
	}
	s.wantDead("0:m4")
	s.link()
	s.take(100)
	if got := s.got[second]; len(got) == 0 || got[len(got)-1] != "m3" {
		t.Errorf("the second stream has delivered %v", got)
	}
	if st := s.Stats(); st.DeadLetters != 2 || st.LettersKept != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestLetterID(t *testing.T) {
	for _, text := range []string{"0", "7", "2.7", "18446744073709551615"} {
		if id := ids(t, text)[0]; id.String() != text {
			t.Errorf("%s: %s", text, id)
		}
	}
	for _, text := range []string{"", "x", "07", "0.7", "1.", ".1", "1.2.3", "-1", "+1"} {
		if err := new(LetterID).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if !(LetterID{0, 9}).Before(LetterID{1, 0}) || (LetterID{1, 0}).Before(LetterID{1, 0}) {
		t.Error("Before")
	}
}

// Which letters are forgotten stands at the end of the record, if any is; order
// and bounds are checked.
func TestGoldenForgottenLetters(t *testing.T) {
	s := state{dead: 9, forgotten: []letters{{0, 2}, {5, 5}}, evicted: 3}
	const want = "4650510164" + "0000000000000009" + "00000000" + "00000000" +
		"00000002" + "0000000000000000" + "0000000000000002" + "0000000000000005" + "0000000000000005" + "0000000000000003"
	b := appendDrops(nil, &s)
	if got := fmt.Sprintf("%x", b[:len(b)-4]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back state
	if err := back.parseDrops(b); err != nil || !slices.Equal(back.forgotten, s.forgotten) || back.evicted != 3 || back.letters() != 5 {
		t.Errorf("read: %+v, %v", back, err)
	}
	for _, bad := range [][]letters{{{3, 2}}, {{5, 5}, {0, 2}}, {{0, 4}, {4, 5}}, {{7, 9}}} {
		s.forgotten = bad
		if err := new(state).parseDrops(appendDrops(nil, &s)); !isDamage(err) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	s = state{dead: 20}
	for _, n := range []uint64{4, 2, 3, 9, 2} {
		s.forget(n)
	}
	if !slices.Equal(s.forgotten, []letters{{2, 4}, {9, 9}}) || !s.forgot(3) || s.forgot(5) || s.letters() != 16 {
		t.Errorf("forgotten: %v", s.forgotten)
	}
}
