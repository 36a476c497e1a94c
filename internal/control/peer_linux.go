package control

import (
	"net"
	"os"
	"syscall"
)

// allowed reports whether the other side of a connection runs as this user or as
// root. The socket's mode says so already; this holds if somebody changes it, or
// the folder's.
func allowed(conn net.Conn) bool {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *syscall.Ucred
	var perr error
	if err := raw.Control(func(fd uintptr) {
		peer, perr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || perr != nil {
		return false
	}
	return mayAsk(peer.Uid, uint32(os.Geteuid()))
}

// mayAsk reports whether a user may ask a daemon that runs as another.
func mayAsk(user, daemon uint32) bool { return user == 0 || user == daemon }
