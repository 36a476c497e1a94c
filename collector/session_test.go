package collector_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// stall makes the store's Append wait until the returned function is called.
func (s *store) stall() (release func()) {
	hold := make(chan struct{})
	s.onAppend = func(ctx context.Context, _ []collector.Append) ([]collector.Answer, error) {
		select {
		case <-hold:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() { close(hold) }
}

// Delivered means stored: no ack before the store has returned.
func TestRule9AckOnlyAfterTheStore(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		release := x.store.stall()
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.quiet()
		release()
		p.ack(1, 4)
	})
}

func TestStalledStoreStillPongs(t *testing.T) {
	serve(t, collector.Config{Heartbeat: time.Second}, func(x *fixture) {
		release := x.store.stall()
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		for n := range uint64(30) {
			time.Sleep(time.Second)
			p.send(wire.AppendPing(nil, n, []wire.Announcement{{Stream: 1, Next: 101 + wire.Seq(n)}}))
			f := p.next()
			if got, err := wire.ParsePong(f.p); f.t != wire.TypePong || err != nil || got != n {
				x.Fatalf("got %s %d (%v), want pong %d", f.t, got, err, n)
			}
		}
		if a := x.status("a"); a.State != heartbeat.Online || a.Backlog != 129 {
			x.Errorf("status %+v", a)
		}
		release()
		p.ack(1, 4)
	})
}

func TestStoreErrorIsNeverAcked(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		other, j := x.link("b")
		x.store.onAppend = func(_ context.Context, list []collector.Append) ([]collector.Answer, error) {
			if list[0].Entry.From == 5 {
				return nil, errStore
			}
			return nil, nil
		}
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		p.send(data(1, i.entry(5, 6)))
		if r := p.refused(wire.RefuseStore, "store cannot take"); r.RetryAfter < time.Second {
			x.Errorf("refusal %+v", r)
		}
		if n := x.log.count("the store failed", "disk on fire"); n != 1 {
			x.Errorf("logged %d times: %s", n, x.log)
		}
		other.send(data(1, j.entry(1, 1)))
		other.ack(1, 1)
		if r := x.store.parting(x.T); r.Goodbye || r.Reason == "" {
			x.Errorf("parting %+v", r)
		}
	})
}

func TestRule15NewLinkFencesTheOld(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		i := newIDs()
		old := x.dial()
		old.hello(wire.Hello{Agent: "a"}, i.state("default", 9))
		old.send(i.resume(1, "default", 0, 9))
		release := x.store.stall()
		old.send(data(1, i.entry(1, 4)))
		synctest.Wait() // the append is under way

		mine := wire.Instance{ID: wire.NewID()}
		p := x.dial()
		p.hello(wire.Hello{Agent: "a", Instance: mine}, i.state("default", 9))
		release() // the store fences it; in any case no ack goes out
		if r := old.refused(wire.RefuseFenced); r.Instance != mine {
			x.Errorf("fenced by %s, want %s", r.Instance, mine)
		}
		p.send(i.resume(1, "default", 0, 9))
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		time.Sleep(5 * time.Second)
		if a := x.status("a"); a.State != heartbeat.Online || a.Session != 2 {
			x.Errorf("status %+v", a)
		}
		if len(x.store.parted) != 0 {
			x.Errorf("a fenced session was parted: %+v", x.store.parted)
		}
		if n := x.log.count("fenced by another process"); n != 1 {
			x.Errorf("logged %d times: %s", n, x.log)
		}
	})
}

// What was stored before the fence, and not acked yet, is not acked after it.
func TestRule15NoAckToAFencedSession(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		i := newIDs()
		old := x.slow("a", i)
		p := x.dial()
		p.mute = true
		old.send(data(1, i.entry(1, 4)))
		synctest.Wait()
		old.send(data(1, i.entry(5, 6)))
		synctest.Wait()
		old.send(data(1, i.entry(7, 8)))
		synctest.Wait()
		w := p.hello(wire.Hello{Agent: "a"}, i.state("default", 101))
		if w.Matches[0].W != 8 {
			x.Fatalf("welcome %+v", w)
		}
		synctest.Wait()
		old.resumeReading()
		var acks int // one ping and one ack may have been in the kernel
		for f := range old.frames {
			switch f.t {
			case wire.TypeAck:
				if _, w, _ := wire.ParseAck(f.p); w > 4 {
					x.Errorf("ack %d to a fenced session", w)
				}
				acks++
			case wire.TypeRefuse:
				old.conn.Close()
			}
		}
		if acks > 1 {
			x.Errorf("%d acks", acks)
		}
	})
}

// Another door to the same store grants a session; this one finds out.
func TestRule15FencedThroughAnotherDoor(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		if _, err := x.store.Store.Hello(x.Context(), collector.Hello{Hello: wire.Hello{Agent: "a"}, Time: time.Now()}); err != nil {
			x.Fatal(err)
		}
		p.send(data(1, i.entry(5, 6)))
		if r := p.refused(wire.RefuseFenced); !r.Instance.IsZero() {
			x.Errorf("fenced by %s", r.Instance)
		}
		if n := x.store.stored(); n != 4 {
			x.Errorf("%d messages stored", n)
		}
	})
}

// Two hellos of one agent at once: the session granted later lives, whichever
// comes back from the store first.
func TestRule15LaterGrantWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &lateStore{Memory: storetest.NewMemory(), hold: make(chan struct{})}
		x := start(t, collector.Config{Store: late})
		defer x.end()
		first, second := x.dial(), x.dial()
		first.send(helloFrames(wire.Hello{Agent: "a"}))
		synctest.Wait()
		second.hello(wire.Hello{Agent: "a"})
		close(late.hold)
		first.refused(wire.RefuseFenced)
		if a := x.status("a"); a.Session != 2 {
			x.Errorf("status %+v", a)
		}
		second.send(wire.AppendPing(nil, 1, nil))
		if f := second.next(); f.t != wire.TypePong {
			x.Errorf("got %s", f.t)
		}
	})
}

// lateStore keeps the answer to the first hello back.
type lateStore struct {
	*storetest.Memory
	hold  chan struct{}
	count int
}

func (s *lateStore) Hello(ctx context.Context, h collector.Hello) (collector.Grant, error) {
	s.count++
	first := s.count == 1
	g, err := s.Memory.Hello(ctx, h)
	if first {
		<-s.hold
	}
	return g, err
}

func TestGoodbye(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.send(wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "service \x1b stopped"}))
		p.ack(1, 4) // what came before it is stored and acked
		p.closed()
		synctest.Wait()
		if a := x.status("a"); a.State != heartbeat.Goodbye || a.Cause != `service \u{1b} stopped` || a.Backlog != 96 || !a.Connected.IsZero() {
			x.Errorf("status %+v", a)
		}
		if r := x.store.parting(x.T); !r.Goodbye || r.Reason != `service \u{1b} stopped` {
			x.Errorf("parting %+v", r)
		}
		if n := x.log.count("agent is goodbye"); n != 1 {
			x.Errorf("logged %d times: %s", n, x.log)
		}
	})
}

// A shutdown tells agents to come back, and acks what has come whole.
func TestShutdown(t *testing.T) {
	for _, stalls := range []bool{false, true} {
		serve(t, collector.Config{}, func(x *fixture) {
			release := x.store.stall()
			if !stalls {
				time.AfterFunc(time.Second, release)
			}
			p, i := x.link("a")
			waiting := x.dial() // has not said hello
			p.send(data(1, i.entry(1, 4)))
			synctest.Wait()
			began := time.Now()
			go x.stop()
			if !stalls {
				p.ack(1, 4)
			}
			for _, q := range []*peer{p, waiting} {
				f := q.next()
				var bye wire.Bye
				if wire.ParseJSON(f.t, f.p, &bye) != nil || f.t != wire.TypeBye || bye.Reason != "shutdown" {
					x.Errorf("got %s %s", f.t, f.p)
				}
				q.conn.Close()
			}
			x.stop()
			if took := time.Since(began); took > 4*time.Second {
				x.Errorf("took %s", took)
			}
			if a := x.status("a"); a.State != heartbeat.Online {
				x.Errorf("status %+v", a)
			}
		})
	}
}

func TestTwoListeners(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		ln, ctx, done := newListener(), x.Context(), make(chan error)
		ctx, cancel := context.WithCancel(ctx)
		go func() { done <- x.srv.Serve(ctx, ln) }()
		a, b := x.dial(), x.dialTo(ln)
		a.hello(wire.Hello{Agent: "a"})
		b.hello(wire.Hello{Agent: "b"})
		cancel()
		if f := b.next(); f.t != wire.TypeBye {
			x.Errorf("got %s", f.t)
		}
		b.conn.Close()
		if err := <-done; err != nil {
			x.Error(err)
		}
		a.send(wire.AppendPing(nil, 1, nil))
		if f := a.next(); f.t != wire.TypePong {
			x.Errorf("got %s", f.t)
		}
		// The sweeper goes on: the agent of the ended listener is missed.
		time.Sleep(2 * time.Minute)
		if got := x.status("b"); got.State != heartbeat.Offline || !strings.Contains(got.Cause, "shuts down") {
			x.Errorf("status %+v", got)
		}
	})
}

func TestAcceptWaitsErrorsOut(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		began := time.Now()
		for range 10 {
			x.ln.fail <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		x.dial().hello(wire.Hello{Agent: "a"})
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			x.Errorf("ten errors were waited out in %s", took)
		}
		if n := x.log.count("no link can be accepted now", "too many open files"); n != 1 {
			x.Errorf("logged %d times: %s", n, x.log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: storetest.NewMemory()})
		if err != nil {
			t.Fatal(err)
		}
		ln := newListener()
		ln.Close()
		if err := srv.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "was closed") {
			t.Errorf("Serve: %v", err)
		}
	})
}

// At the limit of the memory reading pauses; nothing is dropped.
func TestMemoryPausesReading(t *testing.T) {
	serve(t, collector.Config{Memory: 8 << 20, Heartbeat: time.Second}, func(x *fixture) {
		release := x.store.stall()
		i := newIDs()
		var peers []*peer
		for _, id := range []wire.AgentID{"a", "b", "c", "d", "e"} {
			p := x.dial()
			p.hello(wire.Hello{Agent: id}, i.state("default", 9))
			p.send(i.resume(1, "default", 0, 9))
			peers = append(peers, p)
			go p.send(data(1, i.entryOf("default", 1, 3, 1000<<10)))
		}
		time.Sleep(20 * time.Second)
		if n := x.srv.Stats().Memory; n > 8<<20 {
			x.Errorf("%d bytes reserved", n)
		}
		for _, a := range x.srv.Agents() {
			if a.Connected.IsZero() {
				x.Errorf("%s was cut while the collector made it wait", a.ID)
			}
		}
		release()
		for _, p := range peers {
			p.ack(1, 3)
		}
	})
}

// Batches of several lanes that arrive at once never wait for each other.
func TestMemoryIsNoDeadlock(t *testing.T) {
	serve(t, collector.Config{Memory: 8 << 20}, func(x *fixture) {
		p := x.dial()
		var lanes []ids
		var states []wire.StreamState
		names := []wire.Lane{"a", "b", "c", "d", "e"}
		for _, lane := range names {
			i := newIDs()
			lanes, states = append(lanes, i), append(states, i.state(lane, 9))
		}
		p.hello(wire.Hello{Agent: "a"}, states...)
		var parts []wire.Fragments
		for n, i := range lanes {
			p.send(i.resume(uint32(n), names[n], 0, 9))
			parts = append(parts, wire.Fragments{Stream: uint32(n), Entry: i.entryOf(names[n], 1, 4, 1000<<10)})
		}
		// Four fit into twice the memory, not five.
		for !parts[3].Done() {
			for n := range parts[:4] {
				p.send(parts[n].Append(nil))
			}
		}
		for n := range uint32(4) {
			p.ack(n, 4)
		}
		for n := range lanes {
			next := wire.Fragments{Stream: uint32(n), Entry: lanes[n].entryOf(names[n], 5, 8, 1000<<10)}
			go p.send(next.Append(nil))
			synctest.Wait()
		}
		p.refused(wire.RefuseBusy, "memory")
	})
}
