package transport

import (
	"slices"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func newTestRetry(cfg Reconnect, random func(time.Duration) time.Duration) *retry {
	c, err := Config{Agent: "a", Instance: wire.Instance{ID: wire.NewID()}, Collectors: []string{"x:1"}, InsecurePlaintext: true, Reconnect: cfg}.withDefaults()
	if err != nil {
		panic(err)
	}
	r := newRetry(c.Reconnect, c.Instance)
	if random != nil {
		r.random = random
	}
	return r
}

func longest(n time.Duration) time.Duration  { return n }
func shortest(n time.Duration) time.Duration { return 0 }

func TestNetworkFaultsBackOffWithFullJitter(t *testing.T) {
	f := failf(CauseRefused, "x")
	var got []float64
	for r := newTestRetry(Reconnect{}, longest); len(got) < 10; {
		state, d := r.next(f)
		if state != Waiting {
			t.Fatal(state)
		}
		got = append(got, d.Seconds())
	}
	if want := []float64{0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60}; !slices.Equal(got, want) {
		t.Errorf("bounds %v, want %v", got, want)
	}
	r := newTestRetry(Reconnect{}, shortest)
	for range 20 {
		if _, d := r.next(f); d != 0 {
			t.Fatalf("the jitter does not reach down to 0: %s", d)
		}
	}
	// The real one is uniform in [0, bound].
	var sum, low, high time.Duration = 0, time.Hour, 0
	const n = 2000
	for range n {
		r := newTestRetry(Reconnect{Min: time.Second}, nil)
		_, d := r.next(f)
		sum, low, high = sum+d, min(low, d), max(high, d)
	}
	if mean := sum / n; mean < 460*time.Millisecond || mean > 540*time.Millisecond || low > 20*time.Millisecond || high < 980*time.Millisecond || high > time.Second {
		t.Errorf("mean %s, from %s to %s", mean, low, high)
	}
}

func TestBackoffNeverEndsAndResets(t *testing.T) {
	f := failf(CauseTimeout, "x")
	r := newTestRetry(Reconnect{Min: time.Millisecond, Max: 3 * time.Millisecond}, longest)
	for range 100_000 {
		if _, d := r.next(f); d <= 0 || d > 3*time.Millisecond {
			t.Fatal(d)
		}
	}
	r.reset()
	if _, d := r.next(f); d != time.Millisecond || r.failed != 1 {
		t.Errorf("%s and %d attempts after a reset", d, r.failed)
	}
}

func TestAttemptsMaximum(t *testing.T) {
	f := failf(CauseRefused, "x")
	var got []float64
	for r := newTestRetry(Reconnect{MaxAttempts: 3}, longest); len(got) < 5; {
		_, d := r.next(f)
		got = append(got, d.Seconds())
	}
	if want := []float64{0.5, 1, 660, 660, 660}; !slices.Equal(got, want) {
		t.Errorf("delays %v, want %v", got, want)
	}
}

func TestConfigurationFaultsAreSlow(t *testing.T) {
	for _, cause := range []Cause{CauseVersion, CauseIdentity, CauseRefusedProtocol, CauseStore} {
		var got []float64
		for r := newTestRetry(Reconnect{}, shortest); len(got) < 6; {
			_, d := r.next(&failure{cause: cause, refuse: &wire.Refuse{}})
			got = append(got, d.Minutes())
		}
		if want := []float64{1, 2, 4, 8, 10, 10}; !slices.Equal(got, want) {
			t.Errorf("%s: minutes %v, want %v", cause, got, want)
		}
	}
}

// The backoff starts over only after a link has been good for a while.
func TestBackoffIsResetByAGoodLinkOnly(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		cfg := testConfig(c.dial)
		r := start(t, cfg, newSource("default", 10, 1))
		for i := range 6 { // links that live for five seconds
			r.until("a link", time.Minute, func() bool { return r.Status().Links == uint64(i+1) })
			time.Sleep(5 * time.Second)
			c.cut()
			r.until("its end", time.Minute, func() bool { return r.Status().Attempts == i+1 })
		}
		r.until("a link", 2*time.Minute, func() bool { return r.Status().Links == 7 })
		time.Sleep(11 * time.Second)
		c.cut()
		r.until("its end", time.Minute, func() bool { return r.Status().Attempts == 1 })
		if s := r.Status(); s.NextAttempt.Sub(s.FailedAt) > 500*time.Millisecond {
			t.Errorf("next attempt after %s", s.NextAttempt.Sub(s.FailedAt))
		}
	})
}
