package collector_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

func (x *fixture) want(id wire.AgentID, state heartbeat.State, cause string) {
	x.Helper()
	synctest.Wait()
	a := x.status(id)
	if a.State != state || !strings.Contains(a.Cause, cause) {
		x.Errorf("%s is %s because %q, want %s because %q", id, a.State, a.Cause, state, cause)
	}
}

// A half-open link is noticed within two intervals and a second, and closed by
// the server; each change is logged once, with its cause.
func TestSilentLinkIsClosed(t *testing.T) {
	for _, interval := range []time.Duration{100 * time.Millisecond, time.Second, 30 * time.Second} {
		t.Run(interval.String(), func(t *testing.T) {
			serve(t, collector.Config{Heartbeat: interval}, func(x *fixture) {
				p := x.dial()
				p.mute = true
				p.hello(wire.Hello{Agent: "a"})
				began := time.Now()
				x.want("a", heartbeat.Online, "connected")
				p.closed()
				if took := time.Since(began); took < 2*interval || took > 2*interval+time.Second {
					x.Errorf("closed after %s", took)
				}
				time.Sleep(2*interval + 2*time.Second)
				x.want("a", heartbeat.Offline, " for ")
				for _, state := range []string{"online", "late", "offline"} {
					if n := x.log.count("agent is "+state, "cause="); n != 1 {
						x.Errorf("%s logged %d times: %s", state, n, x.log)
					}
				}
				if r := x.store.parting(x.T); !strings.Contains(r.Reason, "silent for") || r.Time.After(began) {
					x.Errorf("parting %+v", r)
				}
			})
		})
	}
}

func TestIdleLinkStaysOnlineByPings(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, _ := x.link("a")
		time.Sleep(6 * time.Hour)
		x.want("a", heartbeat.Online, "connected")
		p.quiet()
		if n := x.log.count("agent is"); n != 1 {
			x.Errorf("%d changes: %s", n, x.log)
		}
		if n := x.srv.Stats().FramesIn; n < 700 || n > 740 {
			x.Errorf("%d frames came in six hours of silence, one an interval are 720", n)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p := x.dial()
		p.delay = 30 * time.Millisecond
		i := newIDs()
		p.hello(wire.Hello{Agent: "a"}, i.state("default", 9))
		p.send(i.resume(1, "default", 0, 9))
		time.Sleep(time.Second)
		if a := x.status("a"); a.RTT != 30*time.Millisecond {
			x.Errorf("round trip %s", a.RTT)
		}
	})
}

func TestLostLinkThatComesBackChangesNothing(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		for range 5 {
			p, _ := x.link("a")
			synctest.Wait()
			p.conn.Close()
			time.Sleep(20 * time.Second)
		}
		x.want("a", heartbeat.Online, "connected")
		time.Sleep(time.Minute)
		x.want("a", heartbeat.Offline, "link lost: closed by the agent without a goodbye")
	})
}

func TestAnnouncedBacklog(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		p.send(wire.AppendPing(nil, 1, []wire.Announcement{{Stream: 1, Next: 201, BacklogBytes: 4096, OldestAge: time.Minute}}))
		p.next()
		p.send(wire.AppendPing(nil, 2, []wire.Announcement{{Stream: 1, Next: 150, BacklogBytes: 4096, OldestAge: time.Minute}})) // lower: discarded
		p.next()
		time.Sleep(10 * time.Second)
		a := x.status("a")
		if a.Backlog != 196 || a.BacklogBytes != 4096 || a.OldestAge != 70*time.Second {
			x.Errorf("status %+v", a)
		}
		if got := fmt.Sprint(x.store.announced); got != fmt.Sprint([]collector.Announcement{{Stream: collector.Stream{Lane: "default", Epoch: i.epoch}, Next: 201}}) {
			x.Errorf("announced %s", got)
		}
		p.conn.Close()
		time.Sleep(time.Hour)
		if a := x.status("a"); a.Backlog != 196 || a.State != heartbeat.Offline || a.Seen.IsZero() {
			x.Errorf("once it is gone: %+v", a)
		}
	})
}

// What is stored is no backlog any more, whatever the last ping said of it: an
// agent that leaves has no time for another one.
func TestSettledBacklogIsGone(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a") // whose resume says that there are 100
		p.send(wire.AppendPing(nil, 1, []wire.Announcement{{Stream: 1, Next: 101, BacklogBytes: 4096, OldestAge: time.Minute}}))
		p.next()
		if a := x.status("a"); a.Backlog != 100 || a.BacklogBytes != 4096 || a.OldestAge != time.Minute {
			x.Errorf("before: %+v", a)
		}
		p.send(data(1, i.entry(1, 100)))
		p.ack(1, 100)
		if a := x.status("a"); a.Backlog != 0 || a.BacklogBytes != 0 || a.OldestAge != 0 {
			x.Errorf("all is stored: %+v", a)
		}
		p.send(wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "done"}))
		p.closed()
		if a := x.status("a"); a.State != heartbeat.Goodbye || a.Backlog != 0 || a.BacklogBytes != 0 || a.OldestAge != 0 {
			x.Errorf("after the goodbye: %+v", a)
		}
	})
}

// After the collector's own restart nobody is called offline at once.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storetest.NewMemory()
		x := start(t, collector.Config{Store: &store{Store: memory}})
		a, _ := x.link("a")
		b, _ := x.link("b")
		x.link("c")
		synctest.Wait()
		b.send(wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "stopped"}))
		b.closed()
		a.conn.Close()
		synctest.Wait()
		x.end()
		time.Sleep(24 * time.Hour)

		y := start(t, collector.Config{Store: &store{Store: memory}})
		defer y.end()
		y.want("a", heartbeat.Unknown, "")
		y.want("b", heartbeat.Goodbye, "stopped")
		y.want("c", heartbeat.Unknown, "")
		if got := y.status("a"); got.Backlog != 100 || got.Address != "pipe" {
			y.Errorf("status %+v", got)
		}
		time.Sleep(59 * time.Second)
		y.want("a", heartbeat.Unknown, "")
		y.dial().hello(wire.Hello{Agent: "c"})
		y.want("c", heartbeat.Online, "connected")
		time.Sleep(10 * time.Second)
		y.want("a", heartbeat.Offline, "closed by the agent without a goodbye")
		y.want("b", heartbeat.Goodbye, "stopped")
		y.want("c", heartbeat.Online, "connected")
		if n := y.log.count("agent is"); n != 2 { // c online, a offline
			y.Errorf("%d changes: %s", n, y.log)
		}
	})
}

// Liveness counts from Serve, not from New.
func TestServeLongAfterNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := storetest.NewMemory()
		x := start(t, collector.Config{Store: memory})
		x.link("a")
		x.end()
		y := &fixture{T: t, ln: newListener(), log: &lines{}}
		srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: memory, Logger: slog.New(slog.NewTextHandler(y.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		y.srv = srv
		time.Sleep(time.Hour)
		y.run()
		defer y.end()
		y.want("a", heartbeat.Unknown, "")
		time.Sleep(59 * time.Second)
		y.want("a", heartbeat.Unknown, "")
	})
}
