package faultnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Network is a network in memory. Its connections have deadlines and block in a
// way that testing/synctest understands, so a bubble's clock runs on. The zero
// Network is ready. Methods may be called concurrently.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	dialled   int
}

// backlog is how many connections may wait for Accept.
const backlog = 128

// Listen returns a listener that the network's lines reach under addr. After its
// Close the address is free again.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: address(addr), Err: syscall.EADDRINUSE}
	}
	if n.listeners == nil {
		n.listeners = map[string]*listener{}
	}
	l := &listener{n: n, addr: addr, waiting: make(chan net.Conn, backlog), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Line returns a way into the network with a switchboard of its own: one agent's
// uplink. The seed fixes its random sizes.
func (n *Network) Line(seed uint64) *Line { return &Line{newFaults(seed), n} }

// Line is one machine's uplink into a Network.
type Line struct {
	*Faults
	n *Network
}

// Dial connects to a listener of the network. Nobody there, or [Faults.Refuse]:
// connection refused. On a line that swallows, it waits for the end of ctx.
func (l *Line) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address(addr), Err: err}
	}
	l.Faults.mu.Lock()
	refuse, delay, hole := l.refuse, l.delay, l.swallowed[Up] || l.swallowed[Down]
	l.Faults.mu.Unlock()
	if hole {
		<-ctx.Done()
	} else if delay > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	to := l.n.listeners[addr]
	if to == nil || refuse {
		return fail(syscall.ECONNREFUSED)
	}
	l.n.dialled++
	from := address(fmt.Sprintf("192.0.2.1:%d", 1024+l.n.dialled))

	l.Faults.mu.Lock()
	k := newLink(l.Faults)
	l.Faults.mu.Unlock()
	here := &conn{link: k, out: Up, local: from, remote: address(addr)}
	there := &conn{link: k, out: Down, local: address(addr), remote: from}
	select {
	case to.waiting <- there:
		return here, nil
	default:
		l.Faults.mu.Lock()
		k.reset(errReset)
		l.Faults.mu.Unlock()
		return fail(syscall.ECONNREFUSED)
	}
}

type listener struct {
	n       *Network
	addr    string
	waiting chan net.Conn
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: address(l.addr), Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: address(l.addr), Err: net.ErrClosed}
	}
}

// Close closes the connections that nobody has accepted as well.
func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.n.listeners[l.addr] != l {
		return net.ErrClosed
	}
	delete(l.n.listeners, l.addr)
	close(l.closed)
	for {
		select {
		case c := <-l.waiting:
			c.Close()
		default:
			return nil
		}
	}
}

func (l *listener) Addr() net.Addr { return address(l.addr) }

// conn is one end of a link in memory.
type conn struct {
	*link
	out           Direction
	local, remote address
	rd, wd        deadline
}

func (c *conn) Read(b []byte) (int, error)  { return c.link.read(c.out.other(), b, &c.rd) }
func (c *conn) Write(b []byte) (int, error) { return c.link.write(c.out, b, &c.wd) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	c.link.close(c.out)
	c.link.abandon(c.out.other())
	return c.SetDeadline(time.Time{}) // stops the timers
}

func (c *conn) SetDeadline(t time.Time) error {
	c.rd.set(c.link, t)
	c.wd.set(c.link, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.rd.set(c.link, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.wd.set(c.link, t)
	return nil
}

// address is a net.Addr as text, in the form host:port.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
