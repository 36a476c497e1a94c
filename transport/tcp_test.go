package transport

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// listen lets c answer on loopback TCP until the test ends.
func listen(t testing.TB, c *fakeCollector) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.accept(conn)
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		c.wg.Wait()
	})
	return l.Addr().String()
}

// waitFor waits in real time.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func TestOverTCP(t *testing.T) {
	c := newCollector(newStore())
	c.window, c.fragment = 1<<20, 16<<10
	cfg := testConfig(nil)
	cfg.Collectors = []string{listen(t, c)}
	bulk, small := newSource("bulk", 50_000, 60), newSource("small", 100, 300, 30)
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx, bulk, small) }()
	waitFor(t, "delivery", func() bool { return bulk.delivered() && small.delivered() })
	c.cut()
	small.put(3, 10)
	waitFor(t, "delivery over another link", small.delivered)
	waitFor(t, "RTT", func() bool { return client.Status().RTT > 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	waitFor(t, "goodbye", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.byes) == 1
	})
	if s := c.store.faults(); s != "" {
		t.Error(s)
	}
	if stored, _ := c.store.numbers(); stored != 393 {
		t.Errorf("stored %d", stored)
	}
}
