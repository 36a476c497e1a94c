package collector_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/wire"
)

// sink is a store that keeps sessions and watermarks and drops the batches, so
// that a benchmark sees the server and not the store.
type sink struct {
	collector.Store
	w wire.Seq
}

func (s *sink) Append(_ context.Context, _ collector.Session, list []collector.Append) ([]collector.Answer, error) {
	out := make([]collector.Answer, len(list))
	for i := range list {
		s.w = list[i].Entry.To
		out[i].W = s.w
	}
	return out, nil
}

// run starts a server for a benchmark, on loopback TCP.
func run(b *testing.B, cfg collector.Config) (addr string, srv *collector.Server) {
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.InsecurePlaintext = cfg.TLS == nil
	srv, err := collector.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, ln) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return ln.Addr().String(), srv
}

// greet opens a link and waits for its welcome.
func greet(b *testing.B, conn net.Conn, hello []byte) {
	if _, err := conn.Write(hello); err != nil {
		b.Fatal(err)
	}
	for {
		t, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
		if err != nil {
			b.Fatal(err)
		}
		if t == wire.TypeWelcome {
			return
		}
		b.Fatalf("got %s %s", t, p)
	}
}

// BenchmarkIngest is one link that drains a backlog: frames to a store that does
// nothing, over loopback TCP; the sender takes part of the time.
func BenchmarkIngest(b *testing.B) {
	for _, per := range []wire.Seq{1, 64, 1000} { // messages in a batch
		b.Run(fmt.Sprintf("batch=%d", per), func(b *testing.B) {
			addr, _ := run(b, collector.Config{Store: &sink{Store: storetest.NewMemory()}, Window: 1 << 30})
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			i := newIDs()
			greet(b, conn, helloFrames(wire.Hello{Agent: "a"}, i.state("default", 1001)))
			conn.Write(i.resume(1, "default", 0, 1001))
			acked := make(chan wire.Seq, 1000)
			go func() {
				defer close(acked)
				var buf []byte
				for {
					t, p, grown, err := wire.ReadFrame(conn, buf, wire.MaxFrame)
					if err != nil {
						return
					}
					if buf = grown; t == wire.TypeAck {
						_, w, _ := wire.ParseAck(p)
						acked <- w
					}
				}
			}()
			frames := data(1, i.entryOf("default", 1, per, 256)) // the sink takes it again and again
			repeat := repeat(frames, max(1, 256<<10/len(frames)))
			count := max(1, 256<<10/len(frames)) * int(per)
			b.SetBytes(int64(len(frames)) / int64(per))
			b.ResetTimer()
			for n := 0; n < b.N; n += count {
				if _, err := conn.Write(repeat); err != nil {
					b.Fatal(err)
				}
			}
			conn.Write(data(1, i.entryOf("default", 2000, 2000, 1)))
			for w := range acked {
				if w == 2000 {
					break
				}
			}
			b.StopTimer()
			conn.Close()
			for range acked {
			}
		})
	}
}

// BenchmarkIdleLinks reports what an idle link costs the server in memory: over
// loopback TCP, after it has carried data once.
func BenchmarkIdleLinks(b *testing.B) {
	const links = 2000
	for b.Loop() {
		addr, srv := run(b, collector.Config{Store: &sink{Store: storetest.NewMemory()}, MaxUnidentified: links})
		var conns []net.Conn
		measure := func() (heap, stack int64) {
			for range 8 {
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapInuse), int64(m.StackInuse)
		}
		heap, stack := measure()
		for n := range links {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
			i := newIDs()
			greet(b, conn, helloFrames(wire.Hello{Agent: wire.AgentID(fmt.Sprint("agent-", n))}, i.state("default", 9)))
			conn.Write(i.resume(1, "default", 0, 9))
			conn.Write(data(1, i.entryOf("default", 1, 8, 4<<10)))
			ack := make([]byte, 64)
			if _, err := io.ReadAtLeast(conn, ack, 21); err != nil {
				b.Fatal(err)
			}
		}
		time.Sleep(200 * time.Millisecond)
		h, s := measure()
		b.ReportMetric(float64(h-heap)/links, "heap-B/link")
		b.ReportMetric(float64(s-stack)/links, "stack-B/link")
		if n := srv.Stats().Links; n != links {
			b.Fatalf("%d links", n)
		}
		for _, c := range conns {
			c.Close()
		}
	}
}
