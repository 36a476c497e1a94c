//go:build !windows

package doctor

import "syscall"

// The system's errors behind a connection that is not made.
var (
	errnosRefused = []error{syscall.ECONNREFUSED}
	errnosRoute   = []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL}
	errnosInUse   = []error{syscall.EADDRINUSE}
	errnosNotHere = []error{syscall.EADDRNOTAVAIL}
	errnosReset   = []error{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE}
)
