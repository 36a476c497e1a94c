package transport

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// FuzzPeer lets a peer answer with any bytes, in place of a welcome or after a
// good one. The client must neither panic nor hang nor take an ack of what it has
// not sent.
func FuzzPeer(f *testing.F) {
	frames := wire.AppendAck(nil, 1, 3)
	frames = wire.AppendReject(frames, 1, 5, "no")
	frames = wire.AppendPing(frames, 1, nil)
	frames = wire.AppendPong(frames, 1)
	f.Add(true, frames)
	f.Add(true, wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: wire.RefuseFenced, Instance: wire.Instance{ID: wire.NewID()}}))
	f.Add(true, wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "x"}))
	f.Add(true, wire.AppendAck(nil, 7, 1<<62))
	f.Add(false, wire.AppendJSON(nil, wire.TypeWelcome, wire.Welcome{Heartbeat: time.Second, Window: 1, Fragment: 1}))
	f.Add(false, []byte("HTTP/1.1 200 OK\r\n"))
	f.Fuzz(func(t *testing.T, welcomed bool, answer []byte) {
		synctest.Test(t, func(t *testing.T) {
			c := newCollector(newStore())
			c.stalled = make(chan struct{}) // all acks are the fuzzer's
			src := newSource("default", 10, 9)
			var near, far net.Conn
			cfg := testConfig(func(context.Context, string, string) (net.Conn, error) {
				if near, far = net.Pipe(); welcomed {
					c.accept(far)
				}
				return near, nil
			})
			client, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- client.Run(ctx, src) }()
			synctest.Wait()
			go func() { _, _ = far.Write(answer) }()
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			far.Close()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			close(c.stalled)
			c.wg.Wait()
			src.mu.Lock()
			defer src.mu.Unlock()
			if acked := src.tail().acked; acked > 9 {
				t.Errorf("acked %d", acked)
			}
		})
	})
}
