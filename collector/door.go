package collector

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// What strangers may do at the door. A source is an IPv4 address or an IPv6 /64.
const (
	perSource   = 16        // connections of a source without an identity
	burst       = 5         // connections of a source at once ...
	rate        = 20        // ... and then a second
	knownFor    = time.Hour // a source is exempt from both after an agent was welcomed from there
	maxSources  = 1 << 14   // that are remembered
	reserveLeft = 10        // one in so many descriptors is kept for the store and the rest of the process
)

// door counts who comes from where. Many agents of a site may come from one
// address, after an outage all at once: where an agent has been identified lately,
// there is no limit but the one for all.
type door struct {
	mu      sync.Mutex
	sources map[netip.Prefix]*visitor
	swept   time.Time
}

// visitor is what is known of one source.
type visitor struct {
	open    int // connections without an identity
	tokens  float64
	at      time.Time // of tokens
	knownAt time.Time // when an agent was last welcomed from there
}

// origin returns the source of a connection; it has none if the limits do not
// apply: on the loopback, where tunnels and proxies end, and without addresses.
func origin(conn net.Conn) netip.Prefix {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !addr.IsValid() || addr.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits) // bits are within the address's
	return p
}

// enter reports whether a connection from p may be served, and counts it.
func (d *door) enter(p netip.Prefix, now time.Time) bool {
	if !p.IsValid() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[p]
	if s == nil {
		if len(d.sources) >= maxSources && !d.sweep(now) {
			return false
		}
		if d.sources == nil {
			d.sources = map[netip.Prefix]*visitor{}
		}
		s = &visitor{tokens: burst, at: now}
		d.sources[p] = s
	}
	s.tokens = min(burst, s.tokens+now.Sub(s.at).Seconds()*rate)
	s.at = now
	if !s.known(now) && (s.open >= perSource || s.tokens < 1) {
		return false
	}
	s.tokens = max(0, s.tokens-1)
	s.open++
	return true
}

func (s *visitor) known(now time.Time) bool {
	return !s.knownAt.IsZero() && now.Sub(s.knownAt) < knownFor
}

// leave notes that a connection is not at the door any more; welcomed says that an
// agent was identified on it.
func (d *door) leave(p netip.Prefix, welcomed bool, now time.Time) {
	if !p.IsValid() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sources[p]
	s.open-- // enter has made it, and sweep leaves what is open
	if welcomed {
		s.knownAt = now
	}
}

// sweep forgets sources of which nothing is open and nothing is to be remembered,
// at most once a second. It reports whether there is room now.
func (d *door) sweep(now time.Time) bool {
	if now.Sub(d.swept) < time.Second {
		return false
	}
	d.swept = now
	for p, s := range d.sources {
		if s.open == 0 && !s.known(now) && now.Sub(s.at) > time.Second {
			delete(d.sources, p)
		}
	}
	return len(d.sources) < maxSources
}
