package transport

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/wire"
)

// slowLine is a line of 100 KB/s and a round trip of 300 ms, with a router on it
// that holds megabytes.
func slowLine(f *faultnet.Faults) {
	f.Rate(faultnet.Up, 100_000)
	f.Delay(150 * time.Millisecond)
	f.Buffer(8 << 20)
}

// overLine lets c answer at the end of a line, until the test ends.
func overLine(t *testing.T, c *fakeCollector) *faultnet.Line {
	t.Helper()
	c.window, c.fragment = wire.DefaultWindow, wire.DefaultFragment
	n := new(faultnet.Network)
	l, err := n.Listen("collector:4717")
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
	return n.Line(1)
}

// storedBytes returns how many bytes of bodies the store has of each lane, each of
// whose bodies has so many bytes.
func storedBytes(s *fakeStore, size map[wire.Lane]int) map[wire.Lane]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := map[wire.Lane]int{}
	for _, st := range s.streams {
		sum[st.lane] += len(st.stored) * size[st.lane]
	}
	return sum
}

// alarms puts an alarm at each of some times, and returns how long each took until
// it was stored.
func alarms(t *testing.T, r *rig, c *fakeCollector, src *fakeSource, at ...time.Duration) (took []time.Duration) {
	t.Helper()
	for i, d := range at {
		time.Sleep(d)
		src.put(1, 200)
		r.Wake()
		took = append(took, r.until("the alarm", 10*time.Minute, func() bool {
			return storedBytes(c.store, map[wire.Lane]int{"alarms": 1})["alarms"] == i+1
		}))
	}
	return took
}

func TestAnAlarmOvertakesABacklogOnASlowLine(t *testing.T) {
	for _, size := range []int{300, 20_000, 900_000} { // three messages a batch
		t.Run(fmt.Sprintf("batch=%d", 3*size), func(t *testing.T) {
			bubble(t, func(t *testing.T, c *fakeCollector) {
				line := overLine(t, c)
				slowLine(line.Faults)
				bulk, urgent := newSource("bulk", size, 10_000_000/size), newSource("alarms", 0, 0)
				cfg := testConfig(line.Dial)
				cfg.Lanes = map[wire.Lane]LanePolicy{"alarms": {Priority: 10}}
				r := start(t, cfg, bulk, urgent)
				began := time.Now()
				took := alarms(t, r, c, urgent, 50*time.Millisecond, time.Second, 3*time.Second, 20*time.Second, time.Second/3, 10*time.Second, time.Second/7)
				for _, d := range took {
					if d > 1300*time.Millisecond {
						t.Errorf("an alarm took %s", d)
					}
				}
				t.Log("alarms took", took)
				// And the line has been busy all the time.
				if carried, line := line.Carried(faultnet.Up), int64(time.Since(began).Seconds()*100_000); carried < line*9/10 {
					t.Errorf("%d bytes were carried of %d", carried, line)
				}
				if s := r.Status(); s.Links != 1 || bulk.delivered() {
					t.Errorf("%d links, delivered %t", s.Links, bulk.delivered())
				}
			})
		})
	}
}

// The control: of equals none overtakes, and the line is filled.
func TestWithoutPrioritiesAnAlarmWaits(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		slowLine(line.Faults)
		bulk, urgent := newSource("bulk", 20_000, 500), newSource("alarms", 0, 0)
		r := start(t, testConfig(line.Dial), bulk, urgent)
		if took := alarms(t, r, c, urgent, 10*time.Second); took[0] < 10*time.Second {
			t.Errorf("an alarm took %s behind a window", took)
		}
	})
}

// A lane between two others overtakes the lower one and waits for the higher one.
func TestThreePriorities(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		slowLine(line.Faults)
		low, middle, high := newSource("low", 20_000, 1000), newSource("alarms", 0, 0), newSource("high", 20_000, 0)
		cfg := testConfig(line.Dial)
		cfg.Lanes = map[wire.Lane]LanePolicy{"low": {Priority: -1}, "high": {Priority: 1, Share: 50}}
		r := start(t, cfg, low, middle, high)
		if took := alarms(t, r, c, middle, 10*time.Second); took[0] > 1300*time.Millisecond {
			t.Errorf("behind the lower lane it took %s", took)
		}
		high.put(150, 20_000)
		r.Wake()
		time.Sleep(2 * time.Second)
		for range 50 {
			middle.put(1, 20_000)
		}
		r.Wake()
		size := map[wire.Lane]int{"low": 20_000, "alarms": 20_000, "high": 20_000}
		before := storedBytes(c.store, size)
		r.until("the highest", time.Minute, high.delivered)
		after := storedBytes(c.store, size)
		if l, m := after["low"]-before["low"], after["alarms"]-before["alarms"]; l > 1_000_000 || m > 1_000_000 {
			t.Errorf("while the highest had 3 MB to send, %d bytes of the middle and %d of the lowest were stored", m, l)
		}
	})
}

func TestALowerLaneKeepsItsShare(t *testing.T) {
	for _, c := range []struct{ share, want int }{{0, 10}, {1, 1}, {30, 30}, {90, 90}} {
		t.Run(fmt.Sprintf("share=%d", c.share), func(t *testing.T) {
			share := c
			bubble(t, func(t *testing.T, c *fakeCollector) {
				line := overLine(t, c)
				slowLine(line.Faults)
				high, low := newSource("high", 5_000, 2_000), newSource("low", 1_000, 9_000)
				cfg := testConfig(line.Dial)
				cfg.Lanes = map[wire.Lane]LanePolicy{"high": {Priority: 1}, "low": {Share: share.share}}
				r := start(t, cfg, low, high)
				time.Sleep(time.Minute)
				sum := storedBytes(c.store, map[wire.Lane]int{"high": 5_000, "low": 1_000})
				got := 100 * float64(sum["low"]) / float64(sum["low"]+sum["high"])
				if all := sum["low"] + sum["high"]; all < 5_000_000 || got < float64(share.want)*0.8 || got > float64(share.want)*1.2 {
					t.Errorf("the lower lane had %.1f %% of %d bytes, want %d %%", got, all, share.want)
				}
				if s := r.Status(); s.Links != 1 {
					t.Errorf("%d links, %s", s.Links, s.LastError)
				}
			})
		})
	}
}

// Equals get as many bytes, whatever the size of their batches.
func TestEqualsTakeTurns(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		slowLine(line.Faults)
		line.Buffer(64 << 10)
		a, b := newSource("a", 100_000, 100), newSource("b", 500, 20_000)
		cfg := testConfig(line.Dial)
		cfg.Lanes = map[wire.Lane]LanePolicy{"a": {Priority: 3}, "b": {Priority: 3}, "late": {Priority: 3}}
		r := start(t, cfg, a, b)
		time.Sleep(time.Minute)
		sum := storedBytes(c.store, map[wire.Lane]int{"a": 100_000, "b": 500})
		if ratio := float64(sum["a"]) / float64(sum["b"]); ratio < 0.7 || ratio > 1.3 {
			t.Errorf("a has %d bytes stored, b %d", sum["a"], sum["b"])
		}
		// One that had nothing to send for a while is not paid back for it.
		late := newSource("late", 0, 0)
		r.finish()
		r = start(t, cfg, a, late)
		time.Sleep(30 * time.Second)
		for range 4000 {
			late.put(3, 500)
		}
		r.Wake()
		before := storedBytes(c.store, map[wire.Lane]int{"a": 100_000, "late": 500})
		time.Sleep(20 * time.Second)
		after := storedBytes(c.store, map[wire.Lane]int{"a": 100_000, "late": 500})
		if got := after["a"] - before["a"]; got < 600_000 {
			t.Errorf("a has got %d bytes stored beside one that came later", got)
		}
	})
}

// On a fast line, or one that becomes fast or slow, what may be on its way follows.
func TestTheFlowFollowsTheLine(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		line.Delay(10 * time.Millisecond)
		line.Buffer(8 << 20)
		bulk, urgent := newSource("bulk", 50_000, 600), newSource("alarms", 0, 0)
		cfg := testConfig(line.Dial)
		cfg.Lanes = map[wire.Lane]LanePolicy{"alarms": {Priority: 1}}
		r := start(t, cfg, bulk, urgent)
		if took := r.until("30 MB", time.Minute, bulk.delivered); took > time.Second {
			t.Errorf("30 MB over a line without a limit took %s", took)
		}
		slowLine(line.Faults)
		for range 400 {
			bulk.put(1, 50_000)
		}
		r.Wake()
		time.Sleep(2 * time.Minute)
		took := alarms(t, r, c, urgent, 0, 10*time.Second)
		if took[0] > 1300*time.Millisecond || took[1] > 1300*time.Millisecond {
			t.Errorf("alarms took %s on the line that became slow", took)
		}
		line.Rate(faultnet.Up, 10_000_000)
		began := time.Now()
		if r.until("20 MB", time.Minute, bulk.delivered); time.Since(began) > 10*time.Second {
			t.Errorf("the rest took %s on the line that became fast", time.Since(began))
		}
		if s := r.Status(); s.Links != 1 {
			t.Errorf("%d links, %s", s.Links, s.LastError)
		}
	})
}

// What may be on its way can shrink below what is, with every mark answered.
func TestAShrunkenFlowGoesOn(t *testing.T) {
	now := time.Now()
	f := newFlow(true)
	f.most, f.base = 1<<20, time.Millisecond
	f.put(nil, 150_000, now) // with a mark
	f.put(nil, 100_000, now) // without
	if len(f.marks) != 1 || !f.pong(f.marks[0].nonce, now.Add(time.Minute)) || f.most != flowLeast || f.room(false) {
		t.Fatalf("%+v", f)
	}
	asked := f.ask(nil, now)
	if len(asked) == 0 || len(f.ask(asked, now)) != len(asked) {
		t.Error("no mark, or two, where nothing would make room")
	}
	if !f.pong(f.marks[0].nonce, now.Add(time.Millisecond)) || !f.room(false) || f.pong(7, now) {
		t.Errorf("%+v", f)
	}
}

// The first bytes fill a very slow line; how long the empty one takes is known.
func TestAVerySlowLine(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		c.interval = 10 * time.Second
		slowLine(line.Faults)
		line.Rate(faultnet.Up, 20_000)
		bulk, urgent := newSource("bulk", 20_000, 500), newSource("alarms", 0, 0)
		cfg := testConfig(line.Dial)
		cfg.Lanes = map[wire.Lane]LanePolicy{"alarms": {Priority: 1}}
		r := start(t, cfg, bulk, urgent)
		took := alarms(t, r, c, urgent, 30*time.Second, 10*time.Second, 10*time.Second)
		t.Log("alarms took", took)
		for _, d := range took { // a fragment alone takes 0.8 s
			if d > 1300*time.Millisecond {
				t.Errorf("an alarm took %s", d)
			}
		}
	})
}

// What is urgent finds room where nothing else does.
func TestTheFlowHasRoomForWhatIsUrgent(t *testing.T) {
	now := time.Now()
	f := newFlow(true)
	f.put(nil, flowFirst, now)
	if f.room(false) || !f.room(true) {
		t.Errorf("room %t, for what is urgent %t", f.room(false), f.room(true))
	}
	f.put(nil, flowFirst, now)
	if f.room(true) {
		t.Error("room for any amount that is urgent")
	}
	if off := newFlow(false); !off.room(false) || len(off.put(nil, 1<<30, now)) > 0 || !off.room(false) {
		t.Error("lanes that are equal are held back")
	}
}

func TestAnAlarmOvertakesABacklogOverTCP(t *testing.T) {
	c := newCollector(newStore())
	c.window, c.fragment, c.interval = wire.DefaultWindow, wire.DefaultFragment, 30*time.Second
	proxy, err := faultnet.NewProxy(listen(t, c), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	slowLine(proxy.Faults)
	bulk, urgent := newSource("bulk", 20_000, 500), newSource("alarms", 0, 0)
	cfg := testConfig(nil)
	cfg.Collectors = []string{proxy.Addr()}
	cfg.Lanes = map[wire.Lane]LanePolicy{"alarms": {Priority: 1}}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx, bulk, urgent) }()
	waitFor(t, "200 KB of bulk", func() bool { return proxy.Carried(faultnet.Up) > 200_000 })
	began := time.Now()
	urgent.put(1, 200)
	client.Wake()
	waitFor(t, "the alarm", func() bool { return storedBytes(c.store, map[wire.Lane]int{"alarms": 1})["alarms"] == 1 })
	took := time.Since(began)
	if t.Logf("the alarm took %s", took); took > 2*time.Second {
		t.Errorf("the alarm took %s", took)
	}
	proxy.Cut()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := c.store.faults(); s != "" {
		t.Error(s)
	}
}
