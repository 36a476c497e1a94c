package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// named is a path to centre.example:4717 whose names are what the map says.
func named(known map[string][]netip.Addr, err error) *Path {
	p := NewPath("centre.example:4717")
	p.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if list, ok := known[host]; ok {
			return list, nil
		}
		return nil, err
	}
	return p
}

func TestNames(t *testing.T) {
	four, six := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")
	none := &net.DNSError{Err: "no such host", Name: "centre.example", IsNotFound: true, Server: "9.9.9.9:53"}
	silent := &net.DNSError{Err: "i/o timeout", Name: "centre.example", IsTimeout: true, Server: "9.9.9.9:53"}
	for _, c := range []struct {
		name   string
		path   *Path
		status Status
		parts  []string
	}{
		{"it resolves", named(map[string][]netip.Addr{"centre.example": {four, six}, "centre.example.": {four, six}}, none), OK, []string{"10.0.0.5, fd00::5"}},
		{"an address", NewPath("[fd00::5]:4717"), OK, []string{"no name to resolve"}},
		{"no such name", named(nil, none), Fail, []string{`no machine named "centre.example"`, "9.9.9.9:53", "hosts"}},
		{"no name server", named(nil, silent), Fail, []string{"no name server has answered", "9.9.9.9:53"}},
		{"a search domain", named(map[string][]netip.Addr{"centre.example": {four}}, none), Warn, []string{"search domain", "whole name"}},
		{"something else", named(nil, errors.New("broken")), Fail, []string{"broken"}},
		{"the deadline", named(nil, context.DeadlineExceeded), Fail, []string{"no name server has answered"}},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, one(t, c.path.names(t.Context())), c.status, c.parts...) })
	}
	synctest.Test(t, func(t *testing.T) {
		p := named(nil, nil)
		p.lookup = func(context.Context, string) ([]netip.Addr, error) {
			time.Sleep(2 * time.Second)
			return []netip.Addr{four}, nil
		}
		want(t, one(t, p.names(t.Context())), Warn, "in 2s: that is slow")
	})
}

// A name that does not exist, asked of this machine's real resolver.
func TestANameThatNobodyHas(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if f := one(t, NewPath("nobody-has-this.invalid:4717").names(ctx)); f.Status != Fail {
		t.Errorf("%+v", f)
	}
}

func TestRoute(t *testing.T) {
	if f := one(t, NewPath("127.0.0.1:4717").route(t.Context())); !strings.Contains(f.Text, "does not tell") { // as wine does not
		want(t, f, OK, "from 127.0.0.1", "to 127.0.0.1")
	}
	p := NewPath("192.0.2.1:4717")
	p.dial = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: os.NewSyscallError("connect", errnosRoute[0].(syscall.Errno))}
	}
	want(t, one(t, p.route(t.Context())), Fail, "no route", "default route")
	p.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("not supported") }
	want(t, one(t, p.route(t.Context())), OK, "does not tell (not supported)")
}

func TestPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPath(l.Addr().String())
	want(t, one(t, p.port(t.Context())), OK, "open")
	if !p.reached.Load() {
		t.Error("it is not noted that the port was reached")
	}
	if c, err := p.connect(t.Context()); err != nil || p.spare.Load() != nil {
		t.Errorf("the connection is not used again: %v", err)
	} else {
		c.Close()
	}
	l.Close()
	p = NewPath(l.Addr().String())
	want(t, one(t, p.port(t.Context())), Fail, "connection refused", "collector doctor")
	if p.reached.Load() {
		t.Error("a port that refuses counts as reached")
	}
	for _, c := range []struct {
		name string
		err  error
		part string
	}{
		{"reset", errnosReset[0], "was reset"},
		{"no route", errnosRoute[1], "no way there"},
		{"timeout", os.ErrDeadlineExceeded, "drops packets"},
		{"other", errors.New("too many open files"), "cannot open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewPath("127.0.0.1:1")
			p.dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: c.err}
			}
			want(t, one(t, p.port(t.Context())), Fail, c.part)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := NewPath("127.0.0.1:1")
		p.dial = func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(1500 * time.Millisecond)
			a, b := net.Pipe()
			t.Cleanup(func() { a.Close(); b.Close() })
			return a, nil
		}
		want(t, one(t, p.port(t.Context())), Warn, "1.5s: that is slow")
	})
}

func TestProxy(t *testing.T) {
	reached, not := NewPath("127.0.0.1:1"), NewPath("127.0.0.1:2")
	reached.reached.Store(true)
	env := func(list ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for _, e := range list {
				if n, v, _ := strings.Cut(e, "="); n == name {
					return v, true
				}
			}
			return "", false
		}
	}
	none := func() string { return "" }
	set := env("HTTPS_PROXY=http://joe:hunter2@proxy.example:3128", "all_proxy=joe:hunter2@socks:1080")
	want(t, one(t, proxy([]*Path{not}, env(), none).Run(t.Context())), OK, "none is set")
	want(t, one(t, proxy([]*Path{reached}, set, none).Run(t.Context())), OK, "HTTPS_PROXY=http://proxy.example:3128", "all_proxy=socks:1080", "needs none")
	f := one(t, proxy([]*Path{reached, not}, set, none).Run(t.Context()))
	want(t, f, Warn, "127.0.0.1:2 is not reached", "to be let through")
	if strings.Contains(f.Text, "hunter2") {
		t.Errorf("it shows a password: %s", f.Text)
	}
	want(t, one(t, proxy([]*Path{not}, env(), func() string { return "Internet settings: p:1" }).Run(t.Context())), Warn, "Internet settings: p:1")
	if c := Proxy([]*Path{reached}); c.After[0] != "port 127.0.0.1:1" {
		t.Errorf("it does not wait for the port: %v", c.After)
	}
}
