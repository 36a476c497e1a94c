package transport

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// rig is a client that runs against a collector, in a synctest bubble.
type rig struct {
	*Client
	t    *testing.T
	stop context.CancelFunc
	done chan error

	mu     sync.Mutex
	states []State
}

func testConfig(dial func(context.Context, string, string) (net.Conn, error)) Config {
	return Config{Agent: "pump-7", Instance: wire.Instance{ID: wire.NewID()}, Collectors: []string{"collector:4717"}, Dial: dial, InsecurePlaintext: true}
}

// start runs a client until the test's end or stop.
func start(t *testing.T, cfg Config, sources ...Source) *rig {
	t.Helper()
	r := &rig{t: t, done: make(chan error, 1)}
	cfg.Changed = func(s Status) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.states = append(r.states, s.State)
	}
	var err error
	if r.Client, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.done <- r.Run(ctx, sources...) }()
	t.Cleanup(func() { r.finish() })
	return r
}

// finish ends the client and returns how long that took.
func (r *rig) finish() time.Duration {
	began := time.Now()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.done <- nil
	synctest.Wait() // the collector has read what it was told at the end
	if s := r.Status().State; s != Stopped {
		r.t.Errorf("state %s after Run", s)
	}
	return time.Since(began)
}

// until waits for a condition, and fails the test after so much (fake) time.
func (r *rig) until(what string, limit time.Duration, cond func() bool) time.Duration {
	r.t.Helper()
	began := time.Now()
	synctest.Wait() // what the collector's goroutines are at may be read from here on
	for !cond() {
		if time.Since(began) > limit {
			r.t.Fatalf("%s: not within %s; status %+v", what, limit, r.Status())
		}
		time.Sleep(max(time.Millisecond, time.Since(began)/200))
		synctest.Wait()
	}
	return time.Since(began)
}

func (r *rig) in(s State) func() bool { return func() bool { return r.Status().State == s } }

// bubble runs a test under synctest with a store that must not be wronged.
func bubble(t *testing.T, f func(t *testing.T, c *fakeCollector)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(newStore())
		defer func() {
			if s := c.store.faults(); s != "" {
				t.Error(s)
			}
		}()
		f(t, c)
	})
}
