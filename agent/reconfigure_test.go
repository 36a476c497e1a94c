package agent_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector/storetest"
)

// Four producers never stop, while lanes come, go and change, routes turn round, and
// the link is made anew: whatever Send has accepted is stored once, and in order within
// each stretch that went to one lane.
func TestReconfigureStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		base := agent.Config{ID: "pump-7", Dir: t.TempDir(), Collectors: []string{"centre:4717"}, Dial: line.Dial, InsecurePlaintext: true}
		configs := []func(*agent.Config){
			func(*agent.Config) {},
			func(c *agent.Config) {
				c.Lanes = map[string]agent.LaneConfig{"a": {Priority: 5, Compression: agent.CodecS2}, "b": {}}
				c.Routes = []agent.Route{{"x/0", "a"}, {"x/1", "b"}}
			},
			func(c *agent.Config) {
				c.Lanes = map[string]agent.LaneConfig{"a": {MaxBytes: 16 << 20, Overflow: agent.Block}, "default": {Compression: agent.CodecS2}}
				c.Routes = []agent.Route{{"#", "a"}}
				c.Heartbeat = 5 * time.Second
			},
			func(c *agent.Config) {
				c.Lanes = map[string]agent.LaneConfig{"b": {MaxMessages: 1 << 20, MaxAge: time.Hour}, "c": {Priority: -1}}
				c.Routes = []agent.Route{{"x/0", "b"}, {"x/1", "c"}, {"x/2", "b"}}
				c.Collectors = []string{"centre:4717", "other:4717"}
			},
		}
		a := mustOpen(t, base)
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
					if err := a.Send(t.Context(), agent.Message{Topic: fmt.Sprint("x/", p), Body: fmt.Appendf(nil, "%d %d", p, i)}); err != nil {
						t.Errorf("producer %d, message %d: %v", p, i, err)
						return
					}
					accepted[p] = i
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 150 {
			cfg := base
			configs[i%len(configs)](&cfg)
			changed, err := a.Reconfigure(t.Context(), cfg)
			if err != nil || i > 0 && len(changed) == 0 {
				t.Fatalf("reload %d: %q, %v", i, changed, err)
			}
			time.Sleep(time.Duration(i%7) * 3 * time.Millisecond)
		}
		close(stop)
		all.Wait()
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkOnce(t, store, accepted)
		if st := a.Status().Link; st.State != "connected" {
			t.Errorf("%+v", st)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// checkOnce checks that the store has messages 1..accepted[p] of each producer once,
// and in order within each lane.
func checkOnce(t *testing.T, store *storetest.Memory, accepted []int) {
	t.Helper()
	type from struct {
		lane     string
		producer int
	}
	last, seen := map[from]int{}, make([]map[int]bool, len(accepted))
	for _, e := range store.Entries() {
		b, err := e.Entry.Check()
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range b.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if r.Seq < e.Entry.From || r.Seq > e.Entry.To {
				continue
			}
			m, err := r.Record.Message()
			if err != nil {
				t.Fatal(err)
			}
			var p, i int
			fmt.Sscan(string(m.Body), &p, &i)
			if seen[p] == nil {
				seen[p] = map[int]bool{}
			}
			if at := (from{string(e.Stream.Lane), p}); seen[p][i] || i <= last[at] {
				t.Fatalf("%v: message %d after %d, stored before: %t", at, i, last[at], seen[p][i])
			} else {
				last[at], seen[p][i] = i, true
			}
		}
	}
	for p, n := range accepted {
		if n == 0 || len(seen[p]) != n {
			t.Errorf("producer %d: %d accepted, %d stored", p, n, len(seen[p]))
		}
	}
	t.Log("accepted:", accepted)
}

// What cannot be taken is refused whole: nothing of it is there afterwards.
func TestReconfigureRefusesWhole(t *testing.T) {
	dir := t.TempDir()
	good := agent.Config{ID: "a", Dir: dir, Lanes: map[string]agent.LaneConfig{"alarms": {MaxMessages: 5}}, Routes: []agent.Route{{"alarm/#", "alarms"}}}
	a := mustOpen(t, good)
	before := laneOf(t, a, "alarms")
	if err := os.WriteFile(filepath.Join(dir, "lane-blocked"), nil, 0o600); err != nil { // where its folder would be
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*agent.Config)
		want   string
	}{
		"id":         {func(c *agent.Config) { c.ID = "b" }, "restart"},
		"folder":     {func(c *agent.Config) { c.Dir += "x" }, "restart"},
		"plaintext":  {func(c *agent.Config) { c.InsecurePlaintext = true }, "restart"},
		"collectors": {func(c *agent.Config) { c.Collectors = []string{"x:1"} }, "restart"},
		"route":      {func(c *agent.Config) { c.Routes = []agent.Route{{"a", "nowhere"}} }, "nowhere"},
		"lane":       {func(c *agent.Config) { c.Lanes = map[string]agent.LaneConfig{"alarms": {MaxAge: 1}} }, "age"},
		"opening": {func(c *agent.Config) {
			c.Lanes = map[string]agent.LaneConfig{"alarms": {MaxMessages: 9}, "aaa": {}, "blocked": {}}
			c.Routes = nil
		}, "blocked"},
	} {
		cfg := good
		cfg.Lanes = maps.Clone(good.Lanes)
		c.change(&cfg)
		_, err := a.Reconfigure(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if errors.Is(err, agent.ErrRestart) != (c.want == "restart") {
			t.Errorf("%s: %v", name, err)
		}
		if now := laneOf(t, a, "alarms"); now.MaxMessages != before.MaxMessages || len(a.Status().Lanes) != 2 {
			t.Errorf("%s: %+v", name, a.Status().Lanes)
		}
		if lane, err := a.LaneOf(&agent.Message{Topic: "alarm/x"}); lane != "alarms" || err != nil {
			t.Errorf("%s: routed to %s, %v", name, lane, err)
		}
	}
	if list, _ := filepath.Glob(filepath.Join(dir, "lane-*")); len(list) != 3 { // default, alarms, blocked
		t.Errorf("a refusal has left %q", list)
	}
	// The same once more changes nothing, and a lane of an attempt that failed can be
	// had later.
	if changed, err := a.Reconfigure(t.Context(), good); err != nil || len(changed) > 0 {
		t.Errorf("%q, %v", changed, err)
	}
	good.Lanes = map[string]agent.LaneConfig{"aaa": {}}
	good.Routes = nil
	changed, err := a.Reconfigure(t.Context(), good)
	if err != nil || strings.Join(changed, "; ") != "lane aaa takes messages; lane alarms takes no more messages and is drained; other routes" {
		t.Errorf("%q, %v", changed, err)
	}
	if err := a.Send(t.Context(), agent.Message{Lane: "alarms"}); !errors.Is(err, agent.ErrUnknownLane) {
		t.Error(err)
	}
	if l := laneOf(t, a, "alarms"); !l.Draining || l.MaxMessages != 0 {
		t.Errorf("%+v", l)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Reconfigure(context.Background(), good); !errors.Is(err, agent.ErrClosed) {
		t.Error(err)
	}
}
