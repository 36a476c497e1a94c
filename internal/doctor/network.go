package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// slowLookup is how long a name may take to resolve.
const slowLookup = time.Second

// Path is the way to one address, host:port, as the checks of it share what they see.
// Make one with NewPath.
type Path struct {
	addr string
	host string // of addr

	// For tests; the system's else.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)

	reached atomic.Bool              // a TCP connection was made
	took    atomic.Int64             // ... in so many nanoseconds
	spare   atomic.Pointer[net.Conn] // that one, for the check behind: a collector logs those that say nothing
}

// NewPath returns the way to addr, which is host:port.
func NewPath(addr string) *Path {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	return &Path{addr: addr, host: host,
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		dial: (&net.Dialer{KeepAlive: -1}).DialContext,
	}
}

// Names checks that the host's name resolves.
func (p *Path) Names() Check {
	return Check{Group: "network", Name: "names", About: p.addr, Time: 4 * time.Second, Run: p.names}
}

func (p *Path) names(ctx context.Context) []Finding {
	if ip, err := netip.ParseAddr(p.host); err == nil {
		return []Finding{Good("%s is an address: there is no name to resolve", ip)}
	}
	began := time.Now()
	list, err := p.lookup(ctx, p.host)
	took := time.Since(began)
	if err != nil {
		return []Finding{p.unresolved(err, took)}
	}
	var texts []string
	for _, a := range list {
		texts = append(texts, a.Unmap().String())
	}
	text := fmt.Sprintf("%s is %s, in %s", p.host, strings.Join(texts, ", "), round(took))
	if took > slowLookup {
		return []Finding{Doubt("look at the name servers of this machine: the first one may not answer", "%s: that is slow", text)}
	}
	// A name that only a search domain makes resolve is another machine's elsewhere.
	if !strings.HasSuffix(p.host, ".") && !strings.EqualFold(p.host, "localhost") {
		var no *net.DNSError
		if _, err := p.lookup(ctx, p.host+"."); errors.As(err, &no) && no.IsNotFound {
			return []Finding{Doubt("write the whole name into collectors, as in centre.example.com:4717", "%s, but only with a search domain of this machine behind it", text)}
		}
	}
	return []Finding{Good("%s", text)}
}

func (p *Path) unresolved(err error, took time.Duration) Finding {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		server := ""
		if dns.Server != "" {
			server = " (name server " + dns.Server + ")"
		}
		switch {
		case dns.IsNotFound:
			return Bad("correct the name in collectors, or add it to the name server or to the file hosts", "there is no machine named %q%s", p.host, server)
		case dns.IsTimeout:
			return Bad("look at the network and the name servers of this machine; an address instead of a name works without them", "no name server has answered for %q within %s%s", p.host, round(took), server)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Bad("look at the network and the name servers of this machine; an address instead of a name works without them", "no name server has answered for %q within %s", p.host, round(took))
	}
	return Bad("look at the network and the name servers of this machine; an address instead of a name works without them", "%q does not resolve: %v", p.host, err)
}

// Route checks that the system knows a way there, and says from which address and
// interface it would go. Nothing is sent.
func (p *Path) Route() Check {
	return Check{Group: "network", Name: "route", About: p.addr, Needs: []string{Key("names", p.addr)}, Run: p.route}
}

func (p *Path) route(ctx context.Context) []Finding {
	conn, err := p.dial(ctx, "udp", p.addr) // a UDP socket's connect sends nothing and looks the route up
	if err != nil && !isErrno(err, errnosRoute) && ctx.Err() == nil {
		return []Finding{Good("this system does not tell (%v)", cause(err))} // the check of the port will
	}
	if err != nil {
		return []Finding{Bad("look at the cable or radio, the addresses (ip addr) and the default route (ip route) of this machine", "no route: %v", cause(err))}
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return []Finding{Good("by way of %s", conn.LocalAddr())}
	}
	return []Finding{Good("from %s%s to %s", local.IP, interfaceOf(local.IP), hostOf(conn.RemoteAddr()))}
}

// interfaceOf names the interface that has an address.
func interfaceOf(ip net.IP) string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for i := range list {
		addrs, _ := list[i].Addrs() // one that cannot be asked does not have it
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return " on " + list[i].Name
			}
		}
	}
	return ""
}

func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// slowConnect is how long a connection may take to be made.
const slowConnect = time.Second

// Port checks that something listens there.
func (p *Path) Port() Check {
	return Check{Group: "network", Name: "port", About: p.addr, Time: 5 * time.Second, Needs: []string{Key("names", p.addr), Key("route", p.addr)}, Run: p.port}
}

func (p *Path) port(ctx context.Context) []Finding {
	began := time.Now()
	conn, err := p.dial(ctx, "tcp", p.addr)
	took := time.Since(began)
	if err != nil {
		return []Finding{p.closed(ctx, err, took)}
	}
	p.reached.Store(true)
	p.took.Store(int64(took))
	p.spare.Store(&conn)
	text := fmt.Sprintf("open, connected to %s in %s", conn.RemoteAddr(), round(took))
	if took > slowConnect {
		return []Finding{Doubt("a slow or lossy line, or a name with several addresses of which the first does not answer", "%s: that is slow", text)}
	}
	return []Finding{Good("%s", text)}
}

// connect gives the connection that the check of the port has made, else another.
func (p *Path) connect(ctx context.Context) (net.Conn, error) {
	if c := p.spare.Swap(nil); c != nil {
		return *c, nil
	}
	return p.dial(ctx, "tcp", p.addr)
}

func (p *Path) closed(ctx context.Context, err error, took time.Duration) Finding {
	var timeout net.Error
	switch {
	case isErrno(err, errnosRefused):
		return Bad(`start the collector there ("collector doctor" on that machine), or correct the port; a firewall that rejects looks the same`,
			"connection refused after %s: the machine answers, and nothing listens on that port", round(took))
	case isErrno(err, errnosRoute):
		return Bad("look at the routers on the way, and whether that machine runs", "no way there: %v", cause(err))
	case isErrno(err, errnosReset):
		return Bad("look for a firewall or a load balancer on the way that resets connections", "the connection was reset while it was being made, after %s", round(took))
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return Bad("a firewall on the way that drops packets, a wrong address, or a machine that is off: let TCP to this port through", "no answer within %s", round(took))
	}
	return Bad("see why this machine cannot open a connection (descriptors, firewall rules of its own)", "%v", cause(err))
}

// cause strips the operation and the addresses off a network error: they stand beside
// it.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

func isErrno(err error, list []error) bool {
	for _, no := range list {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// round prints a duration with about three digits.
func round(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
