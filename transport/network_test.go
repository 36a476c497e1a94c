package transport

import (
	"context"
	"net"
	"os"
	"syscall"
)

// network dials by address; where nobody listens the connection is refused.
type network struct {
	collectors map[string]*fakeCollector
	tried      []string
	wrap       func(net.Conn) net.Conn // of the agent's end
}

func (n *network) dial(ctx context.Context, netw, addr string) (net.Conn, error) {
	n.tried = append(n.tried, addr)
	c := n.collectors[addr]
	if c == nil {
		return nil, &net.OpError{Op: "dial", Net: netw, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	conn, err := c.dial(ctx, netw, addr)
	if err == nil && n.wrap != nil {
		conn = n.wrap(conn)
	}
	return conn, err
}

// lossy is a connection of which each direction can go silent: nothing fails,
// nothing arrives.
type lossy struct {
	net.Conn
	up, down chan struct{} // closed: that direction is silent
}

func newLossy(c net.Conn) *lossy {
	return &lossy{c, make(chan struct{}), make(chan struct{})}
}

func silent(ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func (l *lossy) Write(p []byte) (int, error) {
	if silent(l.up) {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

func (l *lossy) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		if err != nil || !silent(l.down) {
			return n, err
		}
	}
}
