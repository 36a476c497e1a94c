package faultnet

import (
	"context"
	"net"
	"sync"
)

// Proxy carries real TCP connections to a target, through a switchboard. A
// connection that it refuses is reset right after the kernel has accepted it.
// Under Swallow a connect succeeds: the kernel answers, as for a stopped process.
type Proxy struct {
	*Faults
	addr   string
	target string // guarded by Faults.mu
	l      net.Listener
	stop   context.CancelFunc
	joined sync.WaitGroup
}

// NewProxy starts a proxy on a free loopback port. Its target is dialled anew for
// each connection and may be absent: then the connection is reset. The caller
// must Close it.
func NewProxy(target string, seed uint64) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{Faults: newFaults(seed), addr: l.Addr().String(), target: target, l: l, stop: stop}
	p.joined.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr returns the address to dial, host:port.
func (p *Proxy) Addr() string { return p.addr }

// SetTarget changes where new connections go.
func (p *Proxy) SetTarget(addr string) { p.set(func() { p.target = addr }) }

// Close resets every connection and returns when all goroutines have ended.
func (p *Proxy) Close() error {
	p.stop()
	err := p.l.Close()
	p.Cut()
	p.joined.Wait()
	return err
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		near, err := p.l.Accept()
		if err != nil {
			return
		}
		p.joined.Go(func() { p.carry(ctx, near.(*net.TCPConn)) })
	}
}

// carry moves the bytes of one connection until it ends.
func (p *Proxy) carry(ctx context.Context, near *net.TCPConn) {
	p.mu.Lock()
	refuse, target := p.refuse, p.target
	p.mu.Unlock()
	if refuse {
		abort(near)
		return
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		abort(near)
		return
	}
	far := c.(*net.TCPConn)

	p.mu.Lock()
	l := newLink(p.Faults)
	l.onEnd = func() { abort(near); abort(far) }
	if ctx.Err() != nil { // Close has cut what it saw, not this one
		l.reset(net.ErrClosed)
	}
	p.mu.Unlock()

	var pumps sync.WaitGroup
	pumps.Go(func() { fill(l, Up, near) })
	pumps.Go(func() { fill(l, Down, far) })
	pumps.Go(func() { drain(l, Up, far) })
	pumps.Go(func() { drain(l, Down, near) })
	pumps.Wait()
	near.Close()
	far.Close()
}

// fill moves what from sends into a direction of l.
func fill(l *link, d Direction, from *net.TCPConn) {
	b := make([]byte, 16<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := l.write(d, b[:n], nil); err != nil {
				return
			}
		}
		if err != nil {
			l.close(d)
			return
		}
	}
}

// drain moves what arrives in a direction of l to its receiver.
func drain(l *link, d Direction, to *net.TCPConn) {
	defer l.abandon(d)
	b := make([]byte, 16<<10)
	for {
		n, err := l.read(d, b, nil)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			to.CloseWrite()
			return
		}
	}
}

// abort closes c so that the peer sees a reset.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
