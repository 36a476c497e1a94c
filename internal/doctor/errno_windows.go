package doctor

import "golang.org/x/sys/windows"

// Winsock's errors behind a connection that is not made.
var (
	errnosRefused = []error{windows.WSAECONNREFUSED}
	errnosRoute   = []error{windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAENETDOWN, windows.WSAEHOSTDOWN, windows.WSAEADDRNOTAVAIL}
	errnosInUse   = []error{windows.WSAEADDRINUSE, windows.WSAEACCES} // the second of one that another holds exclusively
	errnosNotHere = []error{windows.WSAEADDRNOTAVAIL}
	errnosReset   = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED}
)
