package collector_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

func TestHandshake(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.dial(), newIDs()
		w := p.hello(wire.Hello{Agent: "pump-7", LastSession: 41, Software: "agent 1.0"}, i.state("default", 5))
		if w.Session.Number != 42 || w.Store != x.store.Identity().ID || w.Heartbeat != heartbeat.DefaultInterval ||
			w.Window != wire.DefaultWindow || w.Fragment != wire.DefaultFragment || len(w.Matches) != 1 || w.Matches[0].Found {
			x.Errorf("welcome %+v", w)
		}
		p.send(i.resume(1, "default", 0, 5))
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		synctest.Wait()
		a := x.status("pump-7")
		if a.State != heartbeat.Online || a.Session != 42 || a.Backlog != 0 || a.Software != "agent 1.0" || a.Connected.IsZero() || a.Address != "pipe" {
			x.Errorf("status %+v", a)
		}
		if n := x.store.stored(); n != 4 {
			x.Errorf("%d messages stored, want 4", n)
		}
	})
}

func TestHelloInPages(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		s := newIDs().state("default", 5000)
		s.Boundaries = nil
		for n := range wire.Seq(4999) {
			s.Boundaries = append(s.Boundaries, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: n + 1})
		}
		p := x.dial()
		p.hello(wire.Hello{Agent: "a"}, s, newIDs().state("alarms", 2))
		p.send(wire.AppendResume(nil, wire.Resume{Stream: 9, Lane: s.Lane, Epoch: s.Epoch, Next: s.Next, Boundaries: s.Boundaries}))
		i := ids{s.Epoch, s.Boundaries[0].Incarnation}
		p.send(data(9, i.entry(1, 1)))
		p.ack(9, 1)
	})
}

func TestAgentsHeartbeatWins(t *testing.T) {
	for _, tt := range []struct{ asked, want time.Duration }{
		{0, time.Minute}, {time.Second, time.Second}, {100 * time.Millisecond, 100 * time.Millisecond},
		{99 * time.Millisecond, time.Minute}, {100000 * time.Hour, time.Minute},
	} {
		serve(t, collector.Config{Heartbeat: time.Minute}, func(x *fixture) {
			if w := x.dial().hello(wire.Hello{Agent: "a", Heartbeat: tt.asked}); w.Heartbeat != tt.want {
				x.Errorf("asked for %s, got %s, want %s", tt.asked, w.Heartbeat, tt.want)
			}
		})
	}
}

// page returns one history frame as it is.
func page(s wire.StreamState) []byte { return wire.AppendJSON(nil, wire.TypeHistory, s) }

func TestBadHello(t *testing.T) {
	i := newIDs()
	good := i.state("default", 5)
	hello := func(streams int) []byte {
		return wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: 1, Agent: "a", Instance: wire.Instance{ID: wire.NewID()}, Streams: streams})
	}
	raw := func(json string) []byte { return wire.AppendFrame(nil, wire.TypeHello, []byte(json)) }
	paged := good
	paged.More = true
	other := good
	other.Acked = 3
	empty := paged
	empty.Boundaries = nil
	long := paged
	long.Boundaries = make(wire.History, wire.MaxPageBounds+1)
	for n := range long.Boundaries {
		long.Boundaries[n] = wire.Boundary{Incarnation: i.inc, First: 1}
	}
	full := long
	full.Boundaries = full.Boundaries[:wire.MaxPageBounds]
	id := wire.NewID()

	for _, tt := range []struct {
		name  string
		bytes []byte
		code  wire.RefuseCode
		says  string
	}{
		{"another version", raw(`{"protocol":2,"agent":{"new":"form"}}`), wire.RefuseProtocol, "hello"},
		{"another version, known fields", raw(`{"protocol":2,"agent":"a"}`), wire.RefuseVersion, "version 2 is not spoken here, 1 is"},
		{"no version", raw(`{"agent":"a"}`), wire.RefuseVersion, "version 0"},
		{"no id", raw(`{"protocol":1}`), wire.RefuseIdentity, "agent id"},
		{"an id with a slash", raw(`{"protocol":1,"agent":"../etc"}`), wire.RefuseIdentity, `"../etc"`},
		{"an id with control characters", raw(`{"protocol":1,"agent":"a\u001b[31m"}`), wire.RefuseIdentity, `\x1b`},
		{"an id of 65 characters", raw(`{"protocol":1,"agent":"` + strings.Repeat("a", 65) + `"}`), wire.RefuseIdentity, "64"},
		{"no instance", raw(`{"protocol":1,"agent":"a"}`), wire.RefuseProtocol, "instance"},
		{"no JSON", raw(`{"protocol":1,`), wire.RefuseProtocol, "hello"},
		{"too many streams", hello(wire.MaxStreams + 1), wire.RefuseProtocol, "streams"},
		{"a negative number of streams", raw(fmt.Sprintf(`{"protocol":1,"agent":"a","instance":"%s","streams":-1}`, id)), wire.RefuseProtocol, "streams"},
		{"a hello too long", raw(`{"protocol":1,"agent":"a","software":"` + strings.Repeat("x", wire.MaxHello) + `"}`), wire.RefuseProtocol, "limit"},
		{"another frame first", wire.AppendPing(nil, 1, nil), wire.RefuseProtocol, "first frame is ping"},
		{"an unknown type", wire.AppendFrame(nil, 0x7f, nil), wire.RefuseProtocol, "type"},
		{"a ping where a history is due", append(hello(1), wire.AppendPing(nil, 1, nil)...), wire.RefuseProtocol, "ping where a history is due"},
		{"pages of two streams", append(append(hello(1), page(paged)...), page(other)...), wire.RefuseProtocol, "not of one stream"},
		{"a page without boundaries", append(hello(1), page(empty)...), wire.RefuseProtocol, "without boundaries"},
		{"a page too long", append(hello(1), page(long)...), wire.RefuseProtocol, "limit"},
		{"boundaries that do not ascend", append(append(hello(1), page(full)...), page(good)...), wire.RefuseProtocol, "does not follow"},
		{"more pages than a stream may have", append(hello(1), repeat(page(full), 17)...), wire.RefuseProtocol, "16384"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, collector.Config{}, func(x *fixture) {
				good, _ := x.link("good")
				p := x.dial()
				go p.send(tt.bytes) // the server may stop reading in the middle
				p.refused(tt.code, tt.says)
				synctest.Wait()
				if n := x.log.count("a link was refused", "code="+string(tt.code)); n != 1 {
					x.Errorf("logged %d times: %s", n, x.log)
				}
				if strings.Contains(x.log.String(), "\x1b") {
					x.Error("the log has the peer's control characters")
				}
				good.send(wire.AppendPing(nil, 7, nil))
				if f := good.next(); f.t != wire.TypePong {
					x.Errorf("another link got %s", f.t)
				}
			})
		})
	}
}

func repeat(b []byte, n int) (out []byte) {
	for range n {
		out = append(out, b...)
	}
	return out
}

func TestHelloBeyondAllBoundaries(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		s := newIDs().state("default", 1+wire.MaxHelloBounds)
		s.Boundaries = nil
		for n := range wire.Seq(wire.MaxHelloBounds) {
			s.Boundaries = append(s.Boundaries, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: n + 1})
		}
		b := wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: 1, Agent: "a", Instance: wire.Instance{ID: wire.NewID()}, Streams: 17})
		one := wire.AppendHistory(nil, s)
		p := x.dial()
		go func() {
			p.send(b)
			for range 17 {
				p.send(one)
			}
		}()
		p.refused(wire.RefuseProtocol, "boundaries in all")
	})
}

func TestHelloMustComeInTime(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		silent, half, cut := x.dial(), x.dial(), x.dial()
		b := helloFrames(wire.Hello{Agent: "a"}, newIDs().state("default", 5))
		half.send(b[:len(b)-1])
		cut.send(b[:len(b)-1])
		began := time.Now()
		cut.conn.Close() // a truncated frame harms nobody
		silent.refused(wire.RefuseProtocol, "within 10s")
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			x.Errorf("refused after %s", took)
		}
		half.refused(wire.RefuseProtocol, "within 10s")
		if got := x.srv.Agents(); len(got) != 0 {
			x.Errorf("agents %+v", got)
		}
		synctest.Wait()
		if n := x.log.count("a link was refused"); n != 1 {
			x.Errorf("one source was logged %d times in a minute: %s", n, x.log)
		}
	})
}

func TestTooManyAtTheDoor(t *testing.T) {
	serve(t, collector.Config{MaxUnidentified: 2}, func(x *fixture) {
		_, second := x.dial(), x.dial()
		third := x.dial()
		if r := third.refused(wire.RefuseBusy, "too many"); r.RetryAfter < time.Second {
			x.Errorf("retry after %s", r.RetryAfter)
		}
		second.hello(wire.Hello{Agent: "a"}) // which makes room
		x.dial().hello(wire.Hello{Agent: "b"})
		if n := x.srv.Stats().Refused[wire.RefuseBusy]; n != 1 {
			x.Errorf("%d refused as busy", n)
		}
	})
}

func TestHelloOfAFailingStore(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		x.store.onHello = func(collector.Hello) error { return errStore }
		for range 3 {
			p := x.dial()
			p.send(helloFrames(wire.Hello{Agent: "a"}))
			if r := p.refused(wire.RefuseStore); r.RetryAfter < time.Second || strings.Contains(r.Message, "fire") {
				x.Errorf("refusal %+v", r)
			}
		}
		if n := x.log.count("the store failed", "disk on fire"); n != 1 {
			x.Errorf("logged %d times: %s", n, x.log)
		}
		x.store.onHello = nil
		x.dial().hello(wire.Hello{Agent: "a"})
	})
}

// Many agents may come through one tunnel: what one of them does wrong is not
// hidden by what another does, and is not logged again and again either.
func TestRefusalsOfOneHostDoNotHideEachOther(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		refused := func(code wire.RefuseCode, b []byte) {
			p := x.dial()
			go p.send(b)
			p.refused(code)
			synctest.Wait()
		}
		version := helloFrames(wire.Hello{Protocol: 9, Agent: "a", Instance: wire.Instance{ID: wire.NewID()}})
		identity := wire.AppendFrame(nil, wire.TypeHello, []byte(`{"protocol":1,"agent":"a b"}`))
		for range 3 {
			refused(wire.RefuseProtocol, []byte("GET / HTTP/1.1\r\n\r\n"))
			refused(wire.RefuseVersion, version)
			refused(wire.RefuseIdentity, identity)
			for _, id := range []wire.AgentID{"a", "b"} {
				p, _ := x.link(id)
				p.send(wire.AppendFrame(nil, wire.TypeHello, nil))
				p.refused(wire.RefuseProtocol)
				synctest.Wait()
			}
		}
		for _, part := range []string{"for Fieldpost agents", "code=version", "code=identity", "agent=a", "agent=b"} {
			if n := x.log.count("a link was refused", part); n != 1 {
				x.Errorf("%s: logged %d times: %s", part, n, x.log)
			}
		}
	})
}
