package transport

import "syscall"

const (
	tcpNotsentLowat = 25       // TCP_NOTSENT_LOWAT, which package syscall does not name
	maxUnsent       = 64 << 10 // bytes
)

// limitUnsent keeps what the kernel holds unsent small, so that a small frame
// never waits behind megabytes of bulk.
func limitUnsent(_, _ string, conn syscall.RawConn) error {
	// Failing to set it costs latency, not messages: go on without.
	return conn.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsent)
	})
}
