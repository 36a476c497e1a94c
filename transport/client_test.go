package transport

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func TestDrains(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		a, b := newSource("default", 100, 10, 7), newSource("alarms", 5000, 40)
		r := start(t, testConfig(c.dial), a, b)
		r.until("delivery", time.Second, func() bool { return a.delivered() && b.delivered() })
		if stored, tombs := c.store.numbers(); stored != 57 || tombs != 0 {
			t.Errorf("stored %d, tombstones %d", stored, tombs)
		}
		s := r.Status()
		if s.State != Connected || s.Address != "collector:4717" || s.Session != 1 || s.Store != c.store.id || s.Links != 1 || s.EntriesSent != 21 || s.FramesSent < 21 || s.BytesSent < 200_000 {
			t.Errorf("status %+v", s)
		}
		a.put(2, 10)
		r.Wake()
		r.until("what is put later", 10*time.Millisecond, a.delivered)
		r.finish()
		if want := []State{Connecting, Connected, Stopped}; !slices.Equal(r.states, want) {
			t.Errorf("states %v, want %v", r.states, want)
		}
		if !slices.Equal(c.byes, []string{"shutdown"}) {
			t.Errorf("goodbyes %q", c.byes)
		}
	})
}

func TestWakeBeforeRunAndWithoutALink(t *testing.T) {
	c, err := New(testConfig(nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c.Wake()
	}
}

func TestHelloSaysWhoAndTheLastSession(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 10, 1)
		cfg := testConfig(c.dial)
		cfg.Software, cfg.Host, cfg.Heartbeat = "agent/1", wire.Host{Name: "n", OS: "linux"}, 5*time.Second
		r := start(t, cfg, src)
		r.until("connected", time.Second, r.in(Connected))
		c.cut()
		r.until("again", 2*time.Second, func() bool { return r.Status().Links == 2 })
		for i, h := range c.hellos {
			if want := cfg.hello(uint64(i), 1); h != want {
				t.Errorf("hello %d is %+v, want %+v", i, h, want)
			}
		}
	})
}

func TestHistoriesOfManyIncarnationsGoInPages(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		many := manyBoundaries{newSource("default", 10, 2*wire.MaxPageBounds+1), nil}
		for n := range wire.Seq(2*wire.MaxPageBounds + 1) {
			many.history = append(many.history, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: n + 1})
		}
		r := start(t, testConfig(c.dial), many)
		r.until("delivery", time.Second, many.delivered)
		for _, h := range c.histories {
			if !slices.Equal(h, many.history) {
				t.Errorf("a history of %d boundaries came as %d", len(many.history), len(h))
			}
		}
		if len(c.histories) != 2 {
			t.Errorf("%d histories: want one in the hello and one in the resume", len(c.histories))
		}
	})
}

// manyBoundaries is a source with an incarnation for each number.
type manyBoundaries struct {
	*fakeSource
	history wire.History
}

func (m manyBoundaries) Streams() []wire.StreamState {
	list := m.fakeSource.Streams()
	list[0].Boundaries = m.history
	return list
}

func TestRule4DifferentStore(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src, other := newSource("default", 10, 5), newSource("alarms", 10, 5)
		old := wire.StoreID{ID: wire.NewID()}
		other.store = old
		r := start(t, testConfig(c.dial), src, other)
		r.until("different store", time.Second, r.in(DifferentStore))
		s := r.Status()
		if s.Cause != CauseStore || !strings.Contains(s.LastError, "--replaces "+old.String()) || !strings.Contains(s.LastError, "lane alarms") {
			t.Errorf("status %+v", s)
		}
		if wait := time.Until(s.NextAttempt); wait < 50*time.Second || wait > 70*time.Second {
			t.Errorf("next attempt in %s", wait)
		}
		if src.welcomes+other.welcomes+c.opened != 0 || !slices.Equal(c.byes, []string{"different store"}) {
			t.Errorf("welcomes %d %d, streams %d, goodbyes %q", src.welcomes, other.welcomes, c.opened, c.byes)
		}
		// The operator starts the collector as the old one's replacement.
		c.store.replaces = []wire.StoreID{old}
		r.until("delivery", 2*time.Minute, func() bool { return src.delivered() && other.delivered() })
		if want := []State{Connecting, DifferentStore, Connected}; !slices.Equal(r.states, want) {
			t.Errorf("states %v, want %v", r.states, want)
		}
		if src.Store() != c.store.id {
			t.Error("the lane does not obey the new store")
		}
	})
}

func TestRefuseCodes(t *testing.T) {
	stranger := wire.Instance{ID: wire.NewID()}
	for _, tt := range []struct {
		refuse   wire.Refuse
		state    State
		cause    Cause
		min, max time.Duration // until the next attempt
	}{
		{wire.Refuse{Code: wire.RefuseBusy, RetryAfter: 20 * time.Second}, Waiting, CauseBusy, 20 * time.Second, 22 * time.Second},
		{wire.Refuse{Code: wire.RefuseBusy}, Waiting, CauseBusy, 0, 500 * time.Millisecond},
		{wire.Refuse{Code: wire.RefuseBusy, RetryAfter: 1000 * time.Hour}, Waiting, CauseBusy, time.Hour, 66 * time.Minute},
		{wire.Refuse{Code: wire.RefuseBusy, RetryAfter: -time.Hour}, Waiting, CauseBusy, 0, 500 * time.Millisecond},
		{wire.Refuse{Code: wire.RefuseStore, RetryAfter: 3 * time.Second}, Waiting, CauseStoreFails, 3 * time.Second, 3300 * time.Millisecond},
		{wire.Refuse{Code: wire.RefuseVersion, Message: "speak 2"}, Refused, CauseVersion, time.Minute, 66 * time.Second},
		{wire.Refuse{Code: wire.RefuseIdentity}, Refused, CauseIdentity, time.Minute, 66 * time.Second},
		{wire.Refuse{Code: wire.RefuseProtocol}, Refused, CauseRefusedProtocol, time.Minute, 66 * time.Second},
		{wire.Refuse{Code: "of the future"}, Refused, CauseRefusedProtocol, time.Minute, 66 * time.Second},
		{wire.Refuse{Code: wire.RefuseFenced}, Waiting, CauseFenced, 0, 500 * time.Millisecond},
		{wire.Refuse{Code: wire.RefuseFenced, Instance: stranger}, DuplicateIdentity, CauseFenced, 5 * time.Minute, 330 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.refuse.Code, tt.refuse.RetryAfter, tt.state), func(t *testing.T) {
			bubble(t, func(t *testing.T, c *fakeCollector) {
				tt.refuse.Message += "\u202e\x1b[31m"
				c.hello = func(wire.Hello) *wire.Refuse { return &tt.refuse }
				src := newSource("default", 10, 1)
				r := start(t, testConfig(c.dial), src)
				r.until("refusal", time.Second, func() bool { return r.Status().Cause == tt.cause })
				s := r.Status()
				if wait := s.NextAttempt.Sub(s.FailedAt); s.State != tt.state || wait < tt.min || wait > tt.max {
					t.Errorf("state %s, next attempt in %s", s.State, wait)
				}
				if strings.ContainsAny(s.LastError, "\u202e\x1b") || !strings.Contains(s.LastError, string(tt.refuse.Code)) {
					t.Errorf("last error %q", s.LastError)
				}
				c.hello = nil
				r.until("delivery", 70*time.Minute, src.delivered)
			})
		})
	}
}

func TestRule15FencedByOurselvesAndByAnother(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 10, 1)
		cfg := testConfig(c.dial)
		r := start(t, cfg, src)
		r.until("delivery", time.Second, src.delivered)
		fence := func(by wire.Instance) {
			c.mu.Lock()
			conn := c.conns[len(c.conns)-1]
			c.mu.Unlock()
			_, _ = conn.Write(wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: wire.RefuseFenced, Instance: by}))
			conn.Close()
		}
		fence(cfg.Instance)
		r.until("the next link", time.Second, func() bool { return r.Status().Links == 2 })
		fence(wire.Instance{ID: wire.NewID()})
		r.until("duplicate", time.Second, r.in(DuplicateIdentity))
		src.put(3, 10) // it goes on accepting
		took := r.until("delivery", 6*time.Minute, src.delivered)
		if took < 5*time.Minute-time.Second {
			t.Errorf("back after %s", took)
		}
	})
}

func TestGoodbyeIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.window, c.fragment = 1<<20, 4<<10
		src := newSource("default", 100_000, 30)
		r := start(t, testConfig(c.dial), src)
		r.until("connected", time.Second, r.in(Connected))
		if d := r.finish(); d > 10*time.Millisecond {
			t.Errorf("goodbye in the middle of a batch took %s", d)
		}
		if len(c.byes) != 1 {
			t.Errorf("goodbyes %q", c.byes)
		}
	})
}

func TestGoodbyeTakesTheLastAcks(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.stalled = make(chan struct{})
		src := newSource("default", 10, 1)
		data, bye := make(chan struct{}), make(chan struct{})
		c.arrived = func(typ wire.Type, _ []byte) {
			switch typ {
			case wire.TypeData:
				close(data)
			case wire.TypeBye:
				close(c.stalled) // the store comes round while the agent says goodbye
				time.Sleep(100 * time.Millisecond)
				close(bye)
			}
		}
		r := start(t, testConfig(c.dial), src)
		<-data // a goodbye leaves out what waits to be sent
		r.finish()
		<-bye
		if !src.delivered() {
			t.Error("an ack that came after the goodbye is lost")
		}
	})
}

func TestGoodbyeToADeadCollector(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		hang := make(chan struct{})
		t.Cleanup(func() { close(hang) })
		src := newSource("default", 100_000, 30)
		c.arrived = func(typ wire.Type, _ []byte) {
			if typ == wire.TypeData {
				<-hang
			}
		}
		r := start(t, testConfig(c.dial), src)
		r.until("connected", time.Second, r.in(Connected))
		if d := r.finish(); d > farewell+lastWords {
			t.Errorf("took %s", d)
		}
	})
}

func TestCollectorsAreTriedInTurn(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 10, 1)
		n := &network{collectors: map[string]*fakeCollector{"c:1": c}}
		cfg := testConfig(n.dial)
		cfg.Collectors = []string{"a:1", "b:1", "c:1"}
		r := start(t, cfg, src)
		r.until("delivery", 10*time.Second, src.delivered)
		if want := []string{"a:1", "b:1", "c:1"}; !slices.Equal(n.tried, want) {
			t.Errorf("tried %v", n.tried)
		}
		if s := r.Status(); s.Address != "c:1" || s.Attempts != 2 || s.Cause != CauseRefused {
			t.Errorf("status %+v", s)
		}
		time.Sleep(11 * time.Second)
		if s := r.Status(); s.Attempts != 0 {
			t.Errorf("%d attempts on a link that is good", s.Attempts)
		}
	})
}

func TestNewChecks(t *testing.T) {
	good := testConfig(nil)
	good.Host.Name = strings.Repeat("x", 5000) // is cut
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"agent id":      func(c *Config) { c.Agent = "a/b" },
		"instance":      func(c *Config) { c.Instance = wire.Instance{} },
		"no collectors": func(c *Config) { c.Collectors = nil },
		"host:port":     func(c *Config) { c.Collectors = []string{"x:1", "nowhere"} },
		"heartbeat":     func(c *Config) { c.Heartbeat = time.Millisecond },
		"reconnect":     func(c *Config) { c.Reconnect = Reconnect{Min: time.Hour, Max: time.Second} },
		"attempts":      func(c *Config) { c.Reconnect.MaxAttempts = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %q, got %v", want, err)
		}
	}
}

func TestRunChecks(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 10, 1)
		r := start(t, testConfig(c.dial), src)
		r.until("delivery", time.Second, src.delivered)
		if err := r.Run(t.Context(), src); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("a second Run: %v", err)
		}
		other, _ := New(testConfig(c.dial))
		if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no lanes") {
			t.Errorf("no sources: %v", err)
		}
		if err := other.Run(t.Context(), src, newSource("default", 1, 1)); err == nil || !strings.Contains(err.Error(), "two sources") {
			t.Errorf("one lane twice: %v", err)
		}
	})
}

func TestALaneThatCannotTakeTheWelcomeDoesNotHoldTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		good, bad := newSource("default", 10, 5), newSource("alarms", 10, 5)
		bad.welErr = errors.New("disk on fire")
		r := start(t, testConfig(c.dial), bad, good)
		r.until("the good lane", time.Second, good.delivered)
		bad.set(func(f *fakeSource) { f.welErr = nil })
		r.until("the other one", laneReturnMin+2*time.Second, bad.delivered)
		r.finish()

		// One that stays bad disturbs the others more and more seldom.
		good, bad = newSource("default", 10, 5), newSource("alarms", 10, 5)
		bad.welErr = errors.New("disk on fire")
		r = start(t, testConfig(c.dial), bad, good)
		if took := r.until("16 links", time.Hour, func() bool { return r.Status().Links == 16 }); took < 10*time.Minute {
			t.Errorf("16 links in %s", took)
		}
		if s := r.Status(); s.State != Connected || !good.delivered() {
			t.Errorf("the good lane: %+v", s)
		}
		r.finish()

		bad = newSource("alarms", 10, 5)
		bad.welErr = errors.New("disk on fire")
		r = start(t, testConfig(c.dial), bad)
		r.until("failure", time.Second, func() bool { return r.Status().Cause == CauseQueue })
		if s := r.Status(); s.State == Connected || !strings.Contains(s.LastError, "disk on fire") || !strings.Contains(s.LastError, "lane alarms") {
			t.Errorf("status %+v", s)
		}
		bad.set(func(f *fakeSource) { f.welErr = nil })
		r.until("delivery", 10*time.Second, bad.delivered)
	})
}

func TestLogIsRateLimitedAndNamesCauses(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		var buf bytes.Buffer
		n := &network{}
		cfg := testConfig(n.dial)
		cfg.Logger = slog.New(slog.NewTextHandler(&buf, nil))
		r := start(t, cfg, newSource("default", 10, 1))
		r.until("70 attempts", 2*time.Hour, func() bool { return r.Status().Attempts >= 70 })
		r.finish()
		if n := strings.Count(buf.String(), "cause=connection-refused"); n != 7 { // 1, 2, 4 ... 64
			t.Errorf("%d lines for 70 attempts:\n%s", n, buf.String())
		}
	})
}

func TestLogNamesEachAttemptBeyondTheMaximum(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		var buf bytes.Buffer
		cfg := testConfig((&network{}).dial)
		cfg.Reconnect.MaxAttempts = 5
		cfg.Logger = slog.New(slog.NewTextHandler(&buf, nil))
		r := start(t, cfg, newSource("default", 10, 1))
		r.until("7 attempts", 2*time.Hour, func() bool { return r.Status().Attempts >= 7 })
		r.finish()
		for _, n := range []string{"1", "2", "4", "5", "6", "7"} {
			if !strings.Contains(buf.String(), " attempts="+n+" ") {
				t.Errorf("attempt %s is not in the log:\n%s", n, buf.String())
			}
		}
	})
}
