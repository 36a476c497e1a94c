package transport

import "syscall"

// Winsock's error numbers behind the causes; package syscall does not name them
// all.
var (
	errnosRoute   = []syscall.Errno{10051, 10065, 10050, 10064, 10049} // net and host unreachable, net and host down, address not available
	errnosRefused = []syscall.Errno{10061}
	errnosTimeout = []syscall.Errno{10060}
	errnosClosed  = []syscall.Errno{10054, 10053, 10058, 10052} // reset, aborted, shut down, net reset
)
