package collector_test

import (
	"context"
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

// script is a connection that reads from bytes and takes every write.
type script struct {
	b    []byte
	step int // bytes a read returns at most
	done chan struct{}
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.b)
	s.b = s.b[n:]
	return n, nil
}
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { close(s.done); return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// serveScript serves one connection with what an agent says, to its end.
func serveScript(t *testing.T, b []byte, step int) *collector.Server {
	srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: storetest.NewMemory(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln := newListener()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	conn := &script{b: b, step: step, done: make(chan struct{})}
	ln.conns <- conn
	<-conn.done
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return srv
}

// FuzzLink plays what a peer says: any bytes, from the first on or after a good
// handshake, as they are or as frames with good checksums. Nothing may panic,
// hang, or take more memory than the peer has sent.
func FuzzLink(f *testing.F) {
	i := ids{wire.Epoch{ID: wire.ID{1}}, wire.Incarnation{ID: wire.ID{2}}}
	hello := helloFrames(wire.Hello{Agent: "a", Instance: wire.Instance{ID: wire.ID{3}}}, i.state("default", 9))
	resume := i.resume(1, "default", 0, 9)
	tomb := &wire.Entry{From: 1, To: 3, Incarnation: i.inc, Reason: wire.ReasonExpired, Time: time.Unix(1, 0)}
	payload := func(b []byte) []byte { return append([]byte{b[4]}, b[9:]...) }
	f.Add(uint8(0), uint8(1), hello)
	f.Add(uint8(1), uint8(255), resume)
	f.Add(uint8(2), uint8(255), data(1, i.entry(1, 4)))
	f.Add(uint8(2), uint8(7), append(data(1, tomb), data(1, i.entry(4, 9))...))
	f.Add(uint8(2), uint8(255), wire.AppendPing(nil, 1, []wire.Announcement{{Stream: 1, Next: 10, BacklogBytes: 1, OldestAge: 1}}))
	f.Add(uint8(5), uint8(255), payload(data(1, i.entry(1, 4))))
	f.Add(uint8(5), uint8(255), payload(wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "x"})))
	f.Add(uint8(4), uint8(255), payload(resume))
	f.Add(uint8(3), uint8(255), payload(hello))
	f.Fuzz(func(t *testing.T, mode, step uint8, b []byte) {
		if mode >= 3 && len(b) > 0 { // b is a type and a payload
			b = wire.AppendFrame(nil, wire.Type(b[0]), b[1:min(len(b), wire.MaxFrame)])
		}
		var said []byte
		switch mode % 3 {
		case 1:
			said = append(said, hello...)
		case 2:
			said = append(append(said, hello...), resume...)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		srv := serveScript(t, append(said, b...), 1+int(step))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20+64*uint64(len(b)) {
			t.Errorf("%d bytes allocated for %d", n, len(b))
		}
		if st := srv.Stats(); st.Memory != 0 {
			t.Errorf("%d bytes still reserved", st.Memory)
		}
	})
}
