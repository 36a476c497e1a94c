package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
)

// CanListen tries whether an address is free.
func CanListen(addr string) []Finding {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		l.Close()
		return []Finding{Good("%s is free", addr)}
	case isErrno(err, errnosInUse):
		return []Finding{Bad("find that program (ss -ltnp), or set another address in the configuration or on the command line", "another program has %s", addr)}
	case isErrno(err, errnosNotHere):
		return []Finding{Bad("write an address of this machine, or no host for all of them", "this machine has no address %s", addr)}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{Bad("choose a port from 1024 on", "this user may not listen on %s", addr)}
	}
	return []Finding{Bad("set another address in the configuration or on the command line", "%s: %v", addr, err)}
}

// Dialable makes of an address to listen on one to connect to.
func Dialable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

// Answers tries whether something takes connections at an address to listen on.
func Answers(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", Dialable(addr))
	if err != nil {
		return cause(err)
	}
	return conn.Close()
}
