package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ParseListenAddress checks an address to listen on: host:port. Port 0 lets the
// system choose.
func ParseListenAddress(s string) (string, error) {
	_, _, err := split(s, 0)
	return s, err
}

// ParseLocalHTTPAddress checks an address for HTTP that only this machine reaches:
// host:port on the loopback, or off, which gives "".
func ParseLocalHTTPAddress(s string) (string, error) {
	addr, err := ParseHTTPAddress(s)
	if err == nil && addr != "" && !IsLocal(addr) {
		err = fmt.Errorf("%.80q is reached by other machines, and what an agent shows there is not encrypted; write 127.0.0.1:PORT, and let a scraper on this machine pass it on", s)
	}
	return addr, err
}

// ParseCollectorAddress checks the address of a collector: host:port.
func ParseCollectorAddress(s string) (string, error) {
	_, _, err := split(s, 1)
	if err == nil && strings.HasPrefix(s, ":") {
		err = fmt.Errorf("%.80q names no host; write host:port, as in collector.example.com:4717", s)
	}
	return s, err
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

// IsLocal reports whether an address, host:port, is on this machine's loopback.
func IsLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && IsLoopback(host)
}

// IsLoopback reports whether host is this machine's loopback: an address of it,
// or "localhost". Other names are not looked up, what they stand for may change.
func IsLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
