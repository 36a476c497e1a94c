package transport

import (
	"context"
	"net"
	"time"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
)

// dialTCP is the dialer of a Config without one. Go sets TCP_NODELAY; keepalives
// are off because the heartbeat notices more, and earlier.
func dialTCP(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, Control: limitUnsent}
	return d.DialContext(ctx, network, addr)
}
