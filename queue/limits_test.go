package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

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
