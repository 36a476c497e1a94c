package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

var (
	_ transport.Source     = (*Lane)(nil)
	_ transport.Timekeeper = (*Lane)(nil)
	_ transport.LiveFirst  = (*Lane)(nil)
)

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
