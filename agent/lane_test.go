package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/wire"
)

func mustOpen(t *testing.T, cfg agent.Config) *agent.Agent {
	t.Helper()
	a, err := agent.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// centre serves a collector on a network in memory until the test ends.
func centre(t *testing.T, store collector.Store) *faultnet.Line {
	t.Helper()
	server, err := collector.New(collector.Config{InsecurePlaintext: true, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	n := new(faultnet.Network)
	l, err := n.Listen("centre:4717")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return n.Line(1)
}

// laneOf returns the status of a lane.
func laneOf(t *testing.T, a *agent.Agent, name string) agent.LaneStatus {
	t.Helper()
	for _, l := range a.Status().Lanes {
		if l.Lane == name {
			return l
		}
	}
	t.Fatalf("no lane %s", name)
	return agent.LaneStatus{}
}

// An alarm that is sent while a backlog drains over 100 KB/s with a round trip of
// 300 ms is stored within two seconds: the real queue, link and collector.
func TestAnAlarmIsStoredWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		line.Rate(faultnet.Up, 100_000)
		line.Delay(150 * time.Millisecond)
		line.Buffer(4 << 20)
		cfg := agent.Config{ID: "pump-7", Dir: t.TempDir(), Lanes: map[string]agent.LaneConfig{"alarms": {Priority: 10}},
			Routes: []agent.Route{{Topic: "alarm/#", Lane: "alarms"}}}
		a := mustOpen(t, cfg)
		var batch []agent.Message
		for i := range 1000 {
			batch = append(batch, agent.Message{Topic: "plant/pump-7/temp", Body: fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, i, strings.Repeat("x", 250))})
		}
		for range 12 { // 3.5 MB
			if err := a.SendBatch(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.Collectors, cfg.Dial = []string{"centre:4717"}, line.Dial
		cfg.InsecurePlaintext = true
		a = mustOpen(t, cfg)
		for i := range 4 {
			time.Sleep(5 * time.Second)
			began := time.Now()
			if err := a.Send(t.Context(), agent.Message{Topic: "alarm/pressure", Body: []byte("high")}); err != nil {
				t.Fatal(err)
			}
			for laneOf(t, a, "alarms").Acked < wire.Seq(i+1) { // acked is stored, and the way back
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			took := time.Since(began)
			if t.Logf("alarm %d was acked after %s", i+1, took); took > 2*time.Second {
				t.Errorf("alarm %d was acked after %s", i+1, took)
			}
		}
		if l := laneOf(t, a, "default"); l.Backlog == 0 || l.Acked == 0 {
			t.Errorf("the backlog was no backlog: %+v", l)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Compressed or not, the same messages are stored, also of a lane whose codec was
// changed meanwhile and of messages that came one by one.
func TestCompressedLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		dir := t.TempDir()
		var want []string
		carried := map[agent.Codec]int64{}
		for _, codec := range []agent.Codec{agent.CodecNone, agent.CodecS2, agent.CodecZstd, agent.CodecNone} {
			cfg := agent.Config{ID: "a", Dir: dir, Lanes: map[string]agent.LaneConfig{"default": {Compression: codec}}}
			put := func(a *agent.Agent, count, times int) {
				for range times {
					var list []agent.Message
					for range count {
						body := fmt.Sprintf(`{"sensor":"pump-7/bearing","value":%d,"unit":"celsius","quality":"good"}`, len(want))
						list, want = append(list, agent.Message{Topic: "plant/pump-7", Body: []byte(body)}), append(want, body)
					}
					if err := a.SendBatch(t.Context(), list); err != nil {
						t.Fatal(err)
					}
				}
			}
			a := mustOpen(t, cfg)
			put(a, 500, 4)
			put(a, 1, 200)
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			before := line.Carried(faultnet.Up)
			cfg.Collectors, cfg.Dial = []string{"centre:4717"}, line.Dial
			cfg.InsecurePlaintext = true
			a = mustOpen(t, cfg)
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if l := laneOf(t, a, "default"); l.Compression != codec {
				t.Errorf("status says %s of a lane with %s", l.Compression, codec)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			carried[codec] = line.Carried(faultnet.Up) - before
		}
		t.Log("bytes carried:", carried)
		if carried[agent.CodecS2] > carried[agent.CodecNone]/2 || carried[agent.CodecZstd] > carried[agent.CodecNone]/3 {
			t.Errorf("bytes carried: %v", carried)
		}
		var got []string
		for _, e := range store.Entries() {
			b, err := e.Entry.Check()
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range b.Records() {
				if err != nil {
					t.Fatal(err)
				}
				m, err := r.Record.Message()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(m.Body))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d messages are stored, %d were accepted, or others", len(got), len(want))
		}
	})
}

func TestMessagesAreRouted(t *testing.T) {
	a := mustOpen(t, agent.Config{ID: "a", Dir: t.TempDir(), Lanes: map[string]agent.LaneConfig{"alarms": {}, "bulk": {}},
		Routes: []agent.Route{{"alarm/+/low", "bulk"}, {"alarm/#", "alarms"}, {"camera/#", "bulk"}}})
	ctx := t.Context()
	for _, c := range []struct {
		lane string
		list []agent.Message
	}{
		{"alarms", []agent.Message{{Topic: "alarm"}}},
		{"alarms", []agent.Message{{Topic: "alarm/fire"}}},
		{"bulk", []agent.Message{{Topic: "alarm/fire/low"}}}, // the first match
		{"default", []agent.Message{{Topic: "alarms"}}},
		{"default", []agent.Message{{}}},
		{"default", []agent.Message{{Topic: "alarm/fire", Lane: "default"}}}, // a lane that is named is not routed
		{"alarms", []agent.Message{{Topic: "alarm/a"}, {Topic: "alarm/b"}, {Lane: "alarms"}}},
	} {
		before := laneOf(t, a, c.lane).Accepted
		if err := a.SendBatch(ctx, c.list); err != nil {
			t.Errorf("%+v: %v", c.list, err)
		}
		if got := laneOf(t, a, c.lane).Accepted - before; got != uint64(len(c.list)) {
			t.Errorf("%+v: %d of them are in %s", c.list, got, c.lane)
		}
	}
	if err := a.SendBatch(ctx, []agent.Message{{Topic: "alarm/a"}, {Topic: "x"}}); err == nil || !strings.Contains(err.Error(), `lanes "alarms" and "default"`) {
		t.Errorf("a batch for two lanes: %v", err)
	}
	done := make(chan error, 1)
	a.SendAsync(agent.Message{Topic: "camera/1"}, func(err error) { done <- err })
	if err := <-done; err != nil || laneOf(t, a, "bulk").Accepted != 2 {
		t.Errorf("SendAsync: %v, bulk %+v", err, laneOf(t, a, "bulk"))
	}
}

func TestLaneSettingsAreChecked(t *testing.T) {
	for want, cfg := range map[string]agent.Config{
		"lane a: priority 101":        {Lanes: map[string]agent.LaneConfig{"a": {Priority: 101}}},
		"lane a: priority -101":       {Lanes: map[string]agent.LaneConfig{"a": {Priority: -101}}},
		"at most 1 bytes on disk":     {Lanes: map[string]agent.LaneConfig{"a": {MaxBytes: 1}}},
		"at most -1 bytes on disk":    {Lanes: map[string]agent.LaneConfig{"a": {MaxBytes: -1}}},
		"an age of at most 1ms":       {Lanes: map[string]agent.LaneConfig{"a": {MaxAge: time.Millisecond}}},
		"overflow(9), want":           {Lanes: map[string]agent.LaneConfig{"a": {Overflow: 9}}},
		"a sync every 1ns":            {Lanes: map[string]agent.LaneConfig{"a": {SyncInterval: 1}}},
		"compression codec-3":         {Lanes: map[string]agent.LaneConfig{"a": {Compression: 3}}},
		"a share of 91 per cent":      {Lanes: map[string]agent.LaneConfig{"a": {Share: 91}}},
		"a share of -1 per cent":      {Lanes: map[string]agent.LaneConfig{"a": {Share: -1}}},
		"differ only in case":         {Lanes: map[string]agent.LaneConfig{"Alarms": {}, "alarms": {}}},
		"there is a lane Default":     {Lanes: map[string]agent.LaneConfig{"Default": {}}},
		"ends with a dot":             {Lanes: map[string]agent.LaneConfig{"a.": {}}},
		`route 1 (a/#): unknown lane`: {Routes: []agent.Route{{"a/#", "nowhere"}}},
		"route 2: topic filter":       {Routes: []agent.Route{{"a/#", "default"}, {"a#", "default"}}},
	} {
		cfg.ID, cfg.Dir = "a", filepath.Join(t.TempDir(), "a")
		if _, err := agent.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
		if _, err := os.Stat(cfg.Dir); err == nil {
			t.Errorf("%s: the folder was made", want)
		}
	}
}

// On some systems the two would be one folder.
func TestALaneMustNotDifferInCaseFromOneOnDisk(t *testing.T) {
	cfg := agent.Config{ID: "a", Dir: t.TempDir(), Lanes: map[string]agent.LaneConfig{"Alarms": {}}}
	if err := mustOpen(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Lanes = map[string]agent.LaneConfig{"alarms": {}}
	if _, err := agent.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "there is a lane Alarms") {
		t.Errorf("Open: %v", err)
	}
}

// A lane that has left the configuration is drained, and nothing of what it was is
// forgotten: when it comes back its numbers go on.
func TestALaneThatLeftIsDrainedAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		cfg := agent.Config{ID: "a", Dir: t.TempDir(), Lanes: map[string]agent.LaneConfig{"old": {Priority: 5, Share: 20}}}
		a := mustOpen(t, cfg)
		for range 3 {
			if err := a.Send(t.Context(), agent.Message{Lane: "old"}); err != nil {
				t.Fatal(err)
			}
		}
		if l := laneOf(t, a, "old"); l.Draining || l.Priority != 5 || l.Share != 20 {
			t.Errorf("before: %+v", l)
		}
		if l := laneOf(t, a, "default"); l.Draining || l.Priority != 0 || l.Share != 10 {
			t.Errorf("the default lane: %+v", l)
		}
		a.Close()

		left := cfg
		left.Lanes, left.Collectors, left.Dial = nil, []string{"centre:4717"}, line.Dial
		left.InsecurePlaintext = true
		for run := range 2 { // also when nothing is left to drain
			a = mustOpen(t, left)
			if err := a.Send(t.Context(), agent.Message{Lane: "old"}); !errors.Is(err, agent.ErrUnknownLane) {
				t.Errorf("Send: %v", err)
			}
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if l := laneOf(t, a, "old"); !l.Draining || l.Backlog != 0 || l.Acked != 3 || l.Next != 4 {
				t.Errorf("run %d: %+v", run, l)
			}
			a.Close()
		}

		cfg.Collectors, cfg.Dial = left.Collectors, left.Dial
		cfg.InsecurePlaintext = true
		a = mustOpen(t, cfg)
		if err := errors.Join(a.Send(t.Context(), agent.Message{Lane: "old"}), a.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		if l := laneOf(t, a, "old"); l.Draining || l.Next != 5 || l.Acked != 4 || l.Forks != 0 {
			t.Errorf("back: %+v", l)
		}
		a.Close()
	})
}

// What the policies of a full lane do, through the library.
func TestAFullLane(t *testing.T) {
	for overflow, check := range map[agent.Overflow]func(t *testing.T, a *agent.Agent, err error){
		agent.Reject: func(t *testing.T, a *agent.Agent, err error) {
			if l := laneOf(t, a, "default"); !errors.Is(err, agent.ErrFull) || l.Accepted != 3 || l.Next != 4 {
				t.Errorf("%v, %+v", err, l)
			}
		},
		agent.Block: func(t *testing.T, a *agent.Agent, err error) {
			if l := laneOf(t, a, "default"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, agent.ErrUncertain) || l.Accepted != 3 {
				t.Errorf("%v, %+v", err, l)
			}
		},
		agent.DropOldest: func(t *testing.T, a *agent.Agent, err error) {
			if l := laneOf(t, a, "default"); err != nil || l.Accepted != 4 || l.Backlog > 3 || l.Dropped[wire.ReasonOverflow] == 0 {
				t.Errorf("%v, %+v", err, l)
			}
		},
		agent.DropNewest: func(t *testing.T, a *agent.Agent, err error) {
			if l := laneOf(t, a, "default"); !errors.Is(err, agent.ErrDropped) || l.Backlog != 3 || l.Dropped[wire.ReasonOverflow] != 1 || l.Next != 5 {
				t.Errorf("%v, %+v", err, l)
			}
		},
	} {
		t.Run(overflow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := mustOpen(t, agent.Config{ID: "a", Dir: t.TempDir(), Lanes: map[string]agent.LaneConfig{"default": {MaxMessages: 3, Overflow: overflow}}})
				for range 3 {
					if err := a.Send(t.Context(), agent.Message{}); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				check(t, a, a.Send(ctx, agent.Message{Body: []byte("one too many")}))
				if l := laneOf(t, a, "default"); l.MaxMessages != 3 || l.Overflow != overflow {
					t.Errorf("status %+v", l)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestALaneWithAnIntervalAndAnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := agent.Config{ID: "a", Dir: t.TempDir(), Lanes: map[string]agent.LaneConfig{"default": {SyncInterval: time.Second, MaxAge: time.Minute}}}
		a := mustOpen(t, cfg)
		for range 10 {
			if err := a.Send(t.Context(), agent.Message{}); err != nil {
				t.Fatal(err)
			}
		}
		if l := laneOf(t, a, "default"); l.Accepted != 0 || l.SyncInterval != agent.Seconds(time.Second) {
			t.Errorf("before the interval has passed %+v", l)
		}
		time.Sleep(2 * time.Second)
		if l := laneOf(t, a, "default"); l.Accepted != 10 || l.Backlog != 10 {
			t.Errorf("after it %+v", l)
		}
		time.Sleep(5 * time.Minute)
		if l := laneOf(t, a, "default"); l.Backlog != 0 || l.Dropped[wire.ReasonExpired] != 10 {
			t.Errorf("long after %+v", l)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}
