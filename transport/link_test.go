package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func TestLostLinksAndAcksLoseAndDoubleNothing(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 300, 200, 100)
		var acks atomic.Int64
		c.filter = func(typ wire.Type, _ []byte) bool {
			if typ == wire.TypeAck && acks.Add(1)%10 == 0 {
				c.cut() // the store has it, the agent never hears so
				return false
			}
			return true
		}
		r := start(t, testConfig(c.dial), src)
		r.until("delivery", time.Hour, src.delivered)
		if stored, _ := c.store.numbers(); stored != 300 || r.Status().Links < 3 {
			t.Errorf("stored %d over %d links", stored, r.Status().Links)
		}
	})
}

func TestRule10RefusedNumbersBecomeTombstones(t *testing.T) {
	for _, way := range []string{"each answer", "merged", "quiet"} {
		t.Run(way, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *fakeCollector) {
				c.merge, c.quiet, c.window = way == "merged", way == "quiet", 2000
				for _, n := range []wire.Seq{1, 5, 6, 30, 89} {
					c.store.refuse[n] = true
				}
				src := newSource("default", 200, 90)
				r := start(t, testConfig(c.dial), src)
				took := r.until("delivery", time.Minute, src.delivered)
				if stored, tombs := c.store.numbers(); stored != 85 || tombs != 5 || !slices.Equal(src.rejects, []wire.Seq{1, 5, 6, 30, 89}) {
					t.Errorf("stored %d, tombstones %d, rejects %v", stored, tombs, src.rejects)
				}
				if r.Status().Links != 1 || took > 1000*time.Millisecond {
					t.Errorf("took %s and %d links", took, r.Status().Links)
				}
			})
		})
	}
}

func TestRule10ARunOfRefusalsStopsTheLaneAlone(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		bad, good := newSource("bad", 200, 90), newSource("good", 200, 5)
		for n := range wire.Seq(50) {
			c.store.refuse[n+10] = true
		}
		bad.stopAfter = 10
		r := start(t, testConfig(c.dial), bad, good)
		r.until("stop", time.Second, func() bool { return bad.rejected() == 10 })
		time.Sleep(time.Minute)
		good.put(3, 10)
		r.Wake()
		r.until("the other lane", time.Second, good.delivered)
		if stored, tombs := c.store.numbers(); stored != 8+9 || tombs > 9 || r.Status().Links != 1 {
			t.Errorf("stored %d, tombstones %d, links %d", stored, tombs, r.Status().Links)
		}
	})
}

func TestARefusalThatCannotBeKeptIsAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 200, 9)
		c.store.refuse[5] = true
		src.rejectErr = errors.New("disk full")
		r := start(t, testConfig(c.dial), src)
		took := r.until("delivery", time.Minute, src.delivered)
		if took < laneRetryMin || r.Status().Links != 1 || !slices.Equal(src.rejects, []wire.Seq{5}) {
			t.Errorf("took %s, %d links, rejects %v", took, r.Status().Links, src.rejects)
		}
	})
}

func TestASourceThatCannotBeReadIsAskedAgainAndHoldsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		bad, good := newSource("bad", 10, 9), newSource("good", 10, 9)
		bad.nextErr = errors.New("read error")
		r := start(t, testConfig(c.dial), bad, good)
		r.until("the other lane", time.Second, good.delivered)
		time.Sleep(10 * time.Minute)
		bad.set(func(f *fakeSource) { f.nextErr = nil })
		r.until("delivery", laneRetryMax+time.Second, bad.delivered)
		if r.Status().Links != 1 {
			t.Errorf("%d links", r.Status().Links)
		}
	})
}

// A disk that hangs keeps neither pings nor acks waiting.
func TestAHangingDiskKeepsTheLink(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.pings = true
		src := newSource("default", 10, 9)
		r := start(t, testConfig(c.dial), src)
		r.until("delivery", time.Second, src.delivered)
		stall := make(chan struct{})
		src.set(func(f *fakeSource) { f.stall = stall })
		src.put(3, 10)
		r.Wake()
		time.Sleep(time.Minute)
		close(stall)
		src.set(func(f *fakeSource) { f.stall = nil })
		r.until("delivery", time.Second, src.delivered)
		if s := r.Status(); s.Links != 1 {
			t.Errorf("%d links, %s", s.Links, s.LastError)
		}
	})
}

func TestAStalledStoreKeepsTheLink(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.stalled = make(chan struct{})
		src := newSource("default", 5000, 300)
		r := start(t, testConfig(c.dial), src)
		r.until("a full window", time.Second, func() bool { return r.Status().EntriesSent >= 4 })
		time.Sleep(10 * time.Minute)
		if s := r.Status(); s.Links != 1 || s.State != Connected || s.EntriesSent > 5 {
			t.Errorf("status %+v", s)
		}
		close(c.stalled)
		r.until("delivery", time.Second, src.delivered)
	})
}

// Each way in which a link goes silent is noticed within two intervals and one
// second, idle and busy.
func TestASilentLinkIsNoticedInTime(t *testing.T) {
	for _, busy := range []bool{false, true} {
		for _, way := range []string{"half-open", "up", "down", "stopped"} {
			for _, interval := range []time.Duration{100 * time.Millisecond, time.Second, 30 * time.Second} {
				t.Run(fmt.Sprintf("%s busy=%v interval=%s", way, busy, interval), func(t *testing.T) {
					bubble(t, func(t *testing.T, c *fakeCollector) {
						c.interval, c.pings = interval, true
						var link *lossy
						hang, quit := make(chan struct{}), make(chan struct{})
						t.Cleanup(func() { close(quit) })
						c.arrived = func(wire.Type, []byte) { // a peer that is stopped reads no more
							if silent(hang) {
								<-quit
							}
						}
						c.filter = func(wire.Type, []byte) bool { return !silent(hang) }
						n := &network{collectors: map[string]*fakeCollector{"collector:4717": c}}
						n.wrap = func(conn net.Conn) net.Conn {
							link = newLossy(conn)
							return link
						}
						size := 10
						if busy {
							size = 3000
						}
						src := newSource("default", size, 3)
						r := start(t, testConfig(n.dial), src)
						feed, stop := context.WithCancel(t.Context())
						var wg sync.WaitGroup
						defer wg.Wait()
						defer stop()
						if busy {
							wg.Go(func() {
								for feed.Err() == nil {
									src.put(3, size)
									r.Wake()
									time.Sleep(interval / 50)
								}
							})
						}
						r.until("connected", time.Second, r.in(Connected))
						time.Sleep(10*interval + interval/3)
						if s := r.Status(); s.Links != 1 || s.State != Connected {
							t.Fatalf("a good link was lost: %+v", s)
						}
						broken := time.Now()
						switch way {
						case "half-open":
							close(link.up)
							close(link.down)
						case "up":
							close(link.up)
						case "down":
							close(link.down)
						case "stopped":
							close(hang)
						}
						r.until("notice", 3*interval+10*time.Second, func() bool { return r.Status().Cause != "" })
						s := r.Status()
						if took := s.FailedAt.Sub(broken); took > 2*interval+time.Second || took < interval || s.Cause != CauseTimeout {
							t.Errorf("noticed after %s: %s %s", took, s.Cause, s.LastError)
						}
					})
				})
			}
		}
	}
}

func TestACollectorThatDoesNotAnswerTheHello(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.dumb = true
		r := start(t, testConfig(c.dial), newSource("default", 10, 1))
		began := time.Now()
		r.until("timeout", time.Minute, func() bool { return r.Status().Attempts == 1 })
		s := r.Status()
		if took := s.FailedAt.Sub(began); s.Cause != CauseTimeout || took < handshakeTimeout || took > handshakeTimeout+time.Second {
			t.Errorf("after %s: %+v", took, s)
		}
		// The end of the context does not wait for it.
		r.until("the next attempt", time.Minute, r.in(Connecting))
		time.Sleep(time.Second)
		if d := r.finish(); d > time.Second {
			t.Errorf("stopping took %s", d)
		}
	})
}

func TestIdleLinkPingsAndAnnounces(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.stalled = make(chan struct{})
		src := newSource("default", 10, 9)
		var mu sync.Mutex
		var pings []time.Duration
		var last wire.Announcement
		began := time.Now()
		c.arrived = func(typ wire.Type, p []byte) {
			if typ == wire.TypePing {
				mu.Lock()
				defer mu.Unlock()
				pings = append(pings, time.Since(began))
				if _, list, _ := wire.ParsePing(p); len(list) > 0 {
					last = list[0]
				}
			}
		}
		r := start(t, testConfig(c.dial), src)
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		if len(pings) != 11 || pings[1] > 1010*time.Millisecond {
			t.Errorf("pings at %v", pings)
		}
		if want := (wire.Announcement{Stream: 1, Next: 10, BacklogBytes: 9}); last != want {
			t.Errorf("announced %+v", last)
		}
		close(c.stalled)
		r.until("delivery", time.Second, src.delivered)
		// Busy the whole time, it still announces in each interval.
		pings = nil
		for range 1000 {
			src.put(3, 10)
			r.Wake()
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(pings) < 9 || len(pings) > 11 {
			t.Errorf("%d pings in ten intervals of a busy link", len(pings))
		}
		if last.Next < 2500 {
			t.Errorf("announced %+v", last)
		}
	})
}

func TestRTT(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.arrived = func(typ wire.Type, _ []byte) {
			if typ == wire.TypePing {
				time.Sleep(70 * time.Millisecond)
			}
		}
		r := start(t, testConfig(c.dial), newSource("default", 10, 1))
		r.until("RTT", 10*time.Second, func() bool { return r.Status().RTT == 70*time.Millisecond })
	})
}

// An alarm does not wait for a batch of bulk, and bulk does not starve.
func TestLanesTakeTurnsBetweenFragments(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		c.window, c.fragment = 4<<20, 1<<10
		bulk, alarms := newSource("bulk", 100_000, 30), newSource("alarms", 2_000, 30)
		var order []uint32
		c.arrived = func(typ wire.Type, p []byte) {
			if typ == wire.TypeData || typ == wire.TypeMore {
				order = append(order, binary.BigEndian.Uint32(p))
			}
		}
		r := start(t, testConfig(c.dial), bulk, alarms)
		r.until("delivery", time.Second, func() bool { return bulk.delivered() && alarms.delivered() })
		last := 0
		for i, n := range order {
			if n == 2 {
				last = i
			}
		}
		if count := 10 * 7; last > 2*count+2 { // fragments of the alarms
			t.Errorf("the last of %d alarm frames is number %d on the link", count, last)
		}
	})
}

func TestBadFramesFromTheCollector(t *testing.T) {
	frame := func(typ wire.Type, p string) []byte { return wire.AppendFrame(nil, typ, []byte(p)) }
	flipped := wire.AppendPong(nil, 1)
	flipped[len(flipped)-1] ^= 1
	for name, tt := range map[string]struct {
		bytes []byte
		want  string
		cause Cause
	}{
		"too long":            {[]byte{0x7f, 0, 0, 0, byte(wire.TypeAck), 0, 0, 0, 0}, "the limit", CauseProtocol},
		"unknown type":        {frame(0x77, "x"), "unknown type", CauseProtocol},
		"wrong checksum":      {flipped, "checksum", CauseProtocol},
		"cut off":             {wire.AppendPong(nil, 1)[:12], "EOF", CauseClosed},
		"not a collector's":   {frame(wire.TypeData, "x"), "must not send", CauseProtocol},
		"a second welcome":    {frame(wire.TypeWelcome, "{}"), "must not send", CauseProtocol},
		"short ack":           {frame(wire.TypeAck, "x"), "ack payload", CauseProtocol},
		"short reject":        {frame(wire.TypeReject, "x"), "reject payload", CauseProtocol},
		"bad ping":            {frame(wire.TypePing, "x"), "ping payload", CauseProtocol},
		"bad pong":            {frame(wire.TypePong, "x"), "pong payload", CauseProtocol},
		"bad refuse":          {frame(wire.TypeRefuse, "{"), "refuse", CauseProtocol},
		"bad bye":             {frame(wire.TypeBye, "["), "bye", CauseProtocol},
		"bye":                 {wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "restart\x1b"}), `restart\x1b`, CauseClosed},
		"ack of stream 0":     {wire.AppendAck(nil, 0, 1), "not open", CauseProtocol},
		"ack of stream 2":     {wire.AppendAck(nil, 2, 1), "not open", CauseProtocol},
		"ack of stream -1":    {wire.AppendAck(nil, 1<<32-1, 1), "not open", CauseProtocol},
		"ack of the unsent":   {wire.AppendAck(nil, 1, 99), "only numbers up to 3", CauseProtocol},
		"ack that goes back":  {wire.AppendAck(nil, 1, 2), "after it has acked 3", CauseProtocol},
		"reject of the acked": {wire.AppendReject(nil, 1, 3, ""), "not between", CauseProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *fakeCollector) {
				src := newSource("default", 10, 3)
				r := start(t, testConfig(c.dial), src)
				r.until("delivery", time.Second, src.delivered)
				c.mu.Lock()
				conn := c.conns[0]
				c.mu.Unlock()
				go func() {
					if _, _ = conn.Write(tt.bytes); name == "cut off" {
						conn.Close()
					}
				}()
				r.until("failure", time.Second, func() bool { return r.Status().Cause != "" })
				if s := r.Status(); s.Cause != tt.cause || !strings.Contains(s.LastError, tt.want) {
					t.Errorf("%s: %s", s.Cause, s.LastError)
				}
				src.put(3, 10)
				r.until("another link", 2*time.Second, src.delivered)
			})
		})
	}
}

func TestBadWelcomes(t *testing.T) {
	for want, change := range map[string]func(*wire.Welcome){
		"session":            func(w *wire.Welcome) { w.Session.Number = 0 },
		"store":              func(w *wire.Welcome) { w.Store = wire.StoreID{} },
		"heartbeat interval": func(w *wire.Welcome) { w.Heartbeat = time.Millisecond },
		"heartbeat of":       func(w *wire.Welcome) { w.Heartbeat = -1 },
		"window":             func(w *wire.Welcome) { w.Window = -5 },
		"matches":            func(w *wire.Welcome) { w.Matches = nil },
		"common point": func(w *wire.Welcome) {
			w.Matches[0] = wire.Match{Found: true, Epoch: wire.Epoch{ID: wire.NewID()}, W: 99, Common: 99}
		},
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *fakeCollector) {
				src := newSource("default", 10, 3)
				c.welcome = change
				r := start(t, testConfig(c.dial), src)
				r.until("failure", time.Second, func() bool { return r.Status().Cause == CauseProtocol })
				if s := r.Status(); !strings.Contains(s.LastError, want) || src.welcomes != 0 {
					t.Errorf("%s; the source saw %d welcomes", s.LastError, src.welcomes)
				}
			})
		})
	}
}

func TestNotACollector(t *testing.T) {
	for name, answer := range map[string]string{"http": "HTTP/1.1 400 Bad Request\r\n\r\n", "nothing": "", "ping": string(wire.AppendPing(nil, 1, nil))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, testConfig(func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						_, _ = far.Write([]byte(answer)) // without reading the hello
						far.Close()
					}()
					return near, nil
				}), newSource("default", 10, 3))
				r.until("failure", time.Second, func() bool { return r.Status().Attempts > 0 })
				if s := r.Status(); name != "nothing" && s.Cause != CauseProtocol || name == "nothing" && s.Cause != CauseClosed {
					t.Errorf("%s: %s", s.Cause, s.LastError)
				}
			})
		})
	}
}

// What the peer said before it closed is found, though the write fails first.
func TestTheRefusalIsFoundBehindAFailedWrite(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		src := newSource("default", 10, 3)
		var w *brokenWriter
		n := &network{collectors: map[string]*fakeCollector{"collector:4717": c}}
		n.wrap = func(conn net.Conn) net.Conn {
			w = &brokenWriter{Conn: conn}
			return w
		}
		r := start(t, testConfig(n.dial), src)
		r.until("delivery", time.Second, src.delivered)
		w.broken.Store(true)
		src.put(3, 10)
		r.Wake()
		time.Sleep(lastWords / 2)
		go func() {
			_, _ = c.conns[0].Write(wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: wire.RefuseFenced, Instance: wire.Instance{ID: wire.NewID()}}))
		}()
		r.until("duplicate", time.Second, r.in(DuplicateIdentity))
	})
}

type brokenWriter struct {
	net.Conn
	broken atomic.Bool
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.broken.Load() {
		return 0, io.ErrClosedPipe
	}
	return b.Conn.Write(p)
}
