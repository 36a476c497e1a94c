package doctor

import "golang.org/x/sys/windows"

// Winsock's errors behind a connection that is not made.
var (
	errnosRefused = []error{windows.WSAECONNREFUSED}
	errnosRoute   = []error{windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAENETDOWN, windows.WSAEHOSTDOWN, windows.WSAEADDRNOTAVAIL}
	errnosReset   = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED}
)
