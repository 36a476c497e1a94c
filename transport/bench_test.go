package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// endless is a source that always has the same batch to send.
type endless struct {
	*fakeSource
	batch []byte
	acked atomic.Uint64
}

func (s *endless) Next(e wire.Epoch, n wire.Seq) (wire.Entry, bool, error) {
	return wire.Entry{From: n, To: n, Incarnation: s.streams[0].inc, Batch: s.batch}, true, nil
}
func (s *endless) Ack(_ wire.Epoch, w wire.Seq) { s.acked.Store(uint64(w)) }

// BenchmarkDrain drains a source that costs nothing to a collector that does
// little but take frames apart and ack.
func BenchmarkDrain(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		for _, network := range []string{"tcp", "pipe"} {
			b.Run(fmt.Sprintf("batch=%d/net=%s", size, network), func(b *testing.B) {
				c := newCollector(newStore())
				c.window, c.fragment = wire.DefaultWindow, wire.DefaultFragment
				src := &endless{fakeSource: newSource("default", size-150, 1)}
				src.batch = src.tail().slots[0].batch
				cfg := testConfig(func(_ context.Context, _, addr string) (net.Conn, error) {
					near, far := net.Pipe()
					go drainAll(c, far)
					return near, nil
				})
				if network == "tcp" {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						b.Fatal(err)
					}
					defer l.Close()
					go func() {
						if conn, err := l.Accept(); err == nil {
							drainAll(c, conn)
						}
					}()
					cfg.Dial, cfg.Collectors = nil, []string{l.Addr().String()}
				}
				client, err := New(cfg)
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				b.SetBytes(int64(len(src.batch)))
				b.ReportAllocs()
				b.ResetTimer()
				go func() { done <- client.Run(ctx, src) }()
				waitFor(b, "acks", func() bool { return src.acked.Load() >= uint64(b.N) })
				b.StopTimer()
				cancel()
				if err := <-done; err != nil {
					b.Error(err)
				}
			})
		}
	}
}

// drainAll acks whatever comes, without looking into batches.
func drainAll(c *fakeCollector, conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64<<10)
	h, said, err := readHello(r)
	if err != nil {
		return
	}
	_, _ = conn.Write(wire.AppendJSON(nil, wire.TypeWelcome, c.grant(h, said)))
	var buf []byte
	left, to := 0, wire.Seq(0)
	for {
		typ, p, grown, err := wire.ReadFrame(r, buf, wire.MaxFrame)
		if buf = grown; err != nil {
			return
		}
		switch typ {
		case wire.TypeData:
			_, e, size, first, _ := wire.ParseData(p)
			left, to = size-len(first), e.To
		case wire.TypeMore:
			left -= len(p) - 4
		case wire.TypeBye:
			_, _ = io.Copy(io.Discard, conn)
			return
		default:
			continue
		}
		if left == 0 && r.Buffered() == 0 {
			_, _ = conn.Write(wire.AppendAck(nil, 1, to))
		}
	}
}
