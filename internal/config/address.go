package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ParseListenAddress checks an address to listen on: host:port on this machine's
// loopback. Port 0 lets the system choose. The link and the HTTP pages are plain
// TCP, so nothing else is listened on.
func ParseListenAddress(s string) (string, error) {
	host, _, err := split(s, 0)
	if err != nil {
		return "", err
	}
	if !IsLoopback(host) {
		return "", fmt.Errorf("%q is reachable from other machines, and the link is not encrypted; listen on 127.0.0.1:PORT or [::1]:PORT, and use a tunnel (ssh -L) from elsewhere", s)
	}
	return s, nil
}

// ParseCollectorAddress checks the address of a collector: host:port. Off the loopback
// it is refused unless insecure is set, because the link is plain TCP.
func ParseCollectorAddress(s string, insecure bool) (string, error) {
	host, _, err := split(s, 1)
	if err != nil {
		return "", err
	}
	if !insecure && !IsLoopback(host) {
		return "", fmt.Errorf("%q is not on this machine, and the link is not encrypted; use a tunnel (ssh -L) and its 127.0.0.1:PORT, or allow plain TCP with --insecure-plaintext", s)
	}
	return s, nil
}

func split(s string, lowest uint64) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", 0, fmt.Errorf("%.80q is not an address; write host:port, as in 127.0.0.1:4717", s)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n < lowest {
		return "", 0, fmt.Errorf("%.80q: the port %.20q is not a number from %d to 65535", s, p, lowest)
	}
	return host, uint16(n), nil
}

// IsLoopback reports whether host is this machine's loopback: an address of it,
// or "localhost". Other names are not looked up, what they stand for may change.
func IsLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
