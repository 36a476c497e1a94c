package collector

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// addressed is a connection from somewhere.
type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.addr }

func from(t *testing.T, s string) netip.Prefix {
	t.Helper()
	return origin(addressed{addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s))})
}

func TestOrigin(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1/32", "[::ffff:192.0.2.1]:1": "192.0.2.1/32", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64",
		"127.0.0.1:1": "invalid Prefix", "[::1]:1": "invalid Prefix", "[::ffff:127.0.0.1]:1": "invalid Prefix",
	} {
		if got := from(t, addr).String(); got != want {
			t.Errorf("%s comes from %s, want %s", addr, got, want)
		}
	}
	if origin(addressed{addr: &net.UnixAddr{}}).IsValid() {
		t.Error("a pipe has a source")
	}
}

// A source may make 5 connections at once, then 20 a second, and have 16; where an
// agent was welcomed in the last hour there is no limit.
func TestDoor(t *testing.T) {
	var d door
	p, now := from(t, "192.0.2.1:1"), time.Unix(1e9, 0)
	enter := func(n int) (in int) {
		for range n {
			if d.enter(p, now) {
				in++
			}
		}
		return in
	}
	if n := enter(50); n != burst {
		t.Errorf("%d at once, want %d", n, burst)
	}
	if !d.enter(from(t, "192.0.2.2:1"), now) {
		t.Error("another source pays for it")
	}
	now = now.Add(100 * time.Millisecond)
	if n := enter(50); n != 2 {
		t.Errorf("%d after 100 ms, want 2", n)
	}
	for range 20 {
		now = now.Add(time.Second)
		enter(5)
	}
	if n := d.sources[p].open; n != perSource {
		t.Errorf("%d open, want %d", n, perSource)
	}
	d.leave(p, true, now)
	if n := enter(1000); n != 1000 {
		t.Errorf("a known source may make %d of 1000", n)
	}
	now = now.Add(knownFor)
	if enter(1) != 0 {
		t.Error("it is known for ever")
	}
	for range 1015 {
		d.leave(p, false, now)
	}
	if n := enter(10); n != burst {
		t.Errorf("after all has gone: %d, want %d", n, burst)
	}
}

// A network full of sources takes a bounded memory, and sources that have gone
// give their place to new ones.
func TestDoorForgets(t *testing.T) {
	var d door
	now := time.Unix(1e9, 0)
	source := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	for i := range maxSources {
		if !d.enter(source(i), now) {
			t.Fatalf("source %d", i)
		}
		if i%2 == 0 {
			d.leave(source(i), false, now)
		}
	}
	now = now.Add(2 * time.Second)
	if !d.enter(source(maxSources), now) || len(d.sources) != maxSources/2+1 {
		t.Errorf("%d sources are kept", len(d.sources))
	}
	for i := maxSources + 1; i < 3*maxSources; i++ {
		d.enter(source(i), now)
	}
	if len(d.sources) > maxSources {
		t.Errorf("%d sources", len(d.sources))
	}
}
