package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// reconfigure gives a lane the settings with which it was opened, changed.
func (s *site) reconfigure(change func(*Config)) {
	s.t.Helper()
	cfg := s.cfg
	change(&cfg)
	if err := s.Reconfigure(context.Background(), cfg); err != nil {
		s.t.Fatalf("reconfigure: %v", err)
	}
}

func TestReconfigureWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t, func(c *Config) { c.MaxMessages, c.Overflow, c.LiveFirst = 2, Block, 0 })
		s.put(2)
		done := make(chan error, 1)
		wait := func() {
			go func() { done <- s.Put(context.Background(), msg(fmt.Sprint("m", s.next))) }()
			synctest.Wait()
			if len(done) > 0 {
				t.Fatal("a put did not wait for room")
			}
		}
		wait()
		s.reconfigure(func(c *Config) { c.MaxMessages = 3 })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s.next++
		wait()
		s.reconfigure(func(c *Config) { c.MaxMessages, c.Overflow = 3, Reject })
		if err := <-done; !errors.Is(err, ErrFull) {
			t.Fatalf("by the new policy: %v", err)
		}
		s.reconfigure(func(c *Config) { c.MaxMessages, c.Overflow = 3, DropOldest })
		s.put(1)
		if st := s.Stats(); st.Dropped[wire.ReasonOverflow] != 1 || st.Backlog != 3 {
			t.Errorf("%+v", st)
		}
		s.reconfigure(func(c *Config) { c.MaxMessages, c.MaxAge = 0, time.Minute })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if st := s.Stats(); st.Dropped[wire.ReasonExpired] != 3 || st.Backlog != 0 {
			t.Errorf("%+v", st)
		}
		s.reconfigure(func(c *Config) { c.MaxMessages, c.MaxAge = 0, 0 })
		s.put(5)
		time.Sleep(time.Hour)
		if st := s.Stats(); st.Backlog != 5 {
			t.Errorf("a lane without limits dropped: %+v", st)
		}
		for _, bad := range []func(*Config){func(c *Config) { c.MaxBytes = 1 }, func(c *Config) { c.SegmentSize = 1 }, func(c *Config) { c.LiveFirst = -1 }} {
			cfg := s.cfg
			bad(&cfg)
			if err := s.Reconfigure(context.Background(), cfg); err == nil {
				t.Errorf("taken: %+v", cfg)
			}
		}
		s.Close()
		if err := s.Reconfigure(context.Background(), s.cfg); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// What was taken by an interval is kept until the disk takes it, whatever the lane is
// set to meanwhile: nobody would hear of its loss.
func TestReconfigureKeepsWhatAnIntervalHasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t, func(c *Config) { c.Interval = time.Hour })
		l.put(1, 1)
		l.faults.fail(beforeCommit, errRoom)
		l.faults.fail(onCreate, errRoom, errRoom)
		cfg := l.cfg
		cfg.Interval = 0
		if err := l.reconfigure(context.Background(), cfg); err != nil { // ripe at once, and the disk is full
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		l.put(2, 2)
		l.want(1, "m1", "m2")
	})
}

// Producers never stop while the lane gets other settings: what was accepted is there
// once and in order, also after it is opened again.
func TestReconfigureStorm(t *testing.T) {
	s := openSite(t, func(c *Config) { c.LiveFirst = 0 })
	changes := []func(*Config){
		func(c *Config) {},
		func(c *Config) { c.MaxBytes, c.Overflow = 32<<20, Block },
		func(c *Config) { c.Codec, c.SegmentSize = wire.CodecS2, 128<<10 },
		func(c *Config) { c.Interval = 10 * time.Millisecond },
		func(c *Config) { c.MaxMessages, c.MaxAge, c.Codec = 1<<40, time.Hour, wire.CodecZstd },
		func(c *Config) { c.LiveFirst, c.FreeSpace = time.Hour, -1 },
	}
	const producers = 4
	stop := make(chan struct{})
	var all sync.WaitGroup
	accepted := make([]int, producers)
	for p := range producers {
		all.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.Put(context.Background(), msg(fmt.Sprint(p, " ", i))); err != nil {
					t.Error(err)
					return
				}
				accepted[p] = i
				time.Sleep(50 * time.Microsecond) // the disk is not to be the slowest
			}
		})
	}
	s.link()
	for i := range 120 {
		s.reconfigure(changes[i%len(changes)])
		s.take(3)
	}
	close(stop)
	all.Wait()
	s.reopen()
	s.link()
	s.take(1 << 30)
	seen := make([]int, producers)
	for _, list := range s.got {
		for _, body := range list {
			var p, i int
			fmt.Sscan(body, &p, &i)
			if seen[p]++; i != seen[p] {
				t.Fatalf("producer %d: message %d where %d is next", p, i, seen[p])
			}
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(accepted) {
		t.Errorf("accepted %v, stored %v", accepted, seen)
	}
}
