//go:build !windows

package transport

import "syscall"

// The system's error numbers behind the causes.
var (
	errnosRoute   = []syscall.Errno{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.EADDRNOTAVAIL}
	errnosRefused = []syscall.Errno{syscall.ECONNREFUSED}
	errnosTimeout = []syscall.Errno{syscall.ETIMEDOUT}
	errnosClosed  = []syscall.Errno{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENETRESET}
)
