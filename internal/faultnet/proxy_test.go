package faultnet

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// proxied returns a proxy before a listener, and the two ends of a connection
// through it.
func proxied(t *testing.T) (p *Proxy, agent, collector net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if p, err = NewProxy(l.Addr().String(), 1); err != nil {
		t.Fatal(err)
	}
	if agent, err = net.Dial("tcp", p.Addr()); err != nil {
		t.Fatal(err)
	}
	if collector, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { agent.Close(); collector.Close(); l.Close(); p.Close() })
	return p, agent, collector
}

func TestProxyCarriesAndEnds(t *testing.T) {
	_, a, c := proxied(t)
	exchange(t, a, c, 1<<20)
	send(t, a, "last words")
	a.Close()
	receive(t, c, "last words")
	receiveErr(t, c, io.EOF)
}

func TestProxyFaults(t *testing.T) {
	p, a, c := proxied(t)
	p.Stall(Down)
	send(t, c, "later")
	a.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a stalled direction delivered: %v", err)
	}
	p.Resume(Down)
	receive(t, a, "later")
	p.CutAfter(Up, 4)
	send(t, a, "fourteen bytes")
	receiveErr(t, a, syscall.ECONNRESET)
	for p.Open() > 0 {
		time.Sleep(time.Millisecond)
	}

	p.Refuse(true)
	wantReset(t, p)
}

func TestProxyWithoutTargetResets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p, err := NewProxy(l.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	wantReset(t, p)
}

// wantReset dials p and wants a reset, which may come before the dial returns.
func wantReset(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("dial and read: %v; want a reset", err)
	}
}
