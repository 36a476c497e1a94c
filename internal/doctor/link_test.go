package doctor

import (
	"bufio"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

const agentID = wire.AgentID("pump-7")

// site is an authority with an agent's certificate of it.
type site struct {
	ca    *pki.Authority
	agent tls.Certificate
}

func newSite(t *testing.T) *site {
	t.Helper()
	ca, _, err := pki.NewAuthority(time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{ca: ca}
	s.agent = s.pair(t, func(pub crypto.PublicKey) (*x509.Certificate, error) {
		return ca.IssueAgent(agentID, pub, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	})
	return s
}

func (s *site) pair(t *testing.T, issue func(crypto.PublicKey) (*x509.Certificate, error)) tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := issue(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.NewPair([]*x509.Certificate{leaf, s.ca.Cert}, key)
	if err != nil {
		t.Fatal(err)
	}
	return *pair
}

// server is a collector's certificate from and until.
func (s *site) server(t *testing.T, from, until time.Duration) tls.Certificate {
	return s.pair(t, func(pub crypto.PublicKey) (*x509.Certificate, error) {
		return s.ca.IssueServer(nil, pub, time.Now().Add(from), time.Now().Add(until))
	})
}

// serve answers each connection with handle, and returns where.
func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// over makes handle speak TLS with settings.
func over(c *tls.Config, handle func(net.Conn)) func(net.Conn) {
	return func(raw net.Conn) {
		conn := tls.Server(raw, c)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if conn.Handshake() == nil {
			handle(conn)
			return
		}
		io.Copy(io.Discard, raw) // so that the alert arrives
	}
}

func (s *site) settings(leaf tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{leaf}, ClientCAs: pki.Pool([]*x509.Certificate{s.ca.Cert}),
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{wire.ProtocolLink}, MinVersion: tls.VersionTLS13}
}

// link is that of the site's agent to addr.
func (s *site) link(addr string) *Link {
	return &Link{Path: NewPath(addr), Agent: agentID, TLS: func() (*tls.Config, error) {
		return &tls.Config{RootCAs: pki.Pool([]*x509.Certificate{s.ca.Cert}), ServerName: pki.ServerName, Certificates: []tls.Certificate{s.agent}}, nil
	}}
}

func quiet(net.Conn) {}

func TestTLS(t *testing.T) {
	s, other := newSite(t), newSite(t)
	good := s.server(t, -time.Hour, 90*24*time.Hour)
	portal := s.settings(good)
	portal.NextProtos, portal.ClientAuth = []string{"h2", "http/1.1"}, tls.NoClientCert
	silentProtocol := s.settings(good)
	silentProtocol.NextProtos, silentProtocol.ClientAuth = nil, tls.NoClientCert
	middlebox := other.pair(t, func(pub crypto.PublicKey) (*x509.Certificate, error) {
		c, err := other.ca.IssueServer([]string{"proxy.corp.example"}, pub, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		return c, err
	})
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		status Status
		parts  []string
	}{
		{"a collector", over(s.settings(good), quiet), OK, []string{"TLS 1.3", "as " + pki.ServerName}},
		{"its certificate ends soon", over(s.settings(s.server(t, -80*24*time.Hour, 5*24*time.Hour)), quiet), Warn, []string{"good until"}},
		{"its certificate has ended", over(s.settings(s.server(t, -2*time.Hour, -time.Hour)), quiet), Fail, []string{"ended at", "clock"}},
		{"its certificate begins tomorrow", over(s.settings(s.server(t, 24*time.Hour, 48*time.Hour)), quiet), Fail, []string{"begins at", "set this machine's clock"}},
		{"another authority's collector", over(other.settings(middlebox), quiet), Fail, []string{"another authority", "enrol"}},
		{"a portal that speaks TLS", over(portal, quiet), Fail, []string{"is no collector", "portal"}},
		{"a server of old", over(&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, quiet), Fail, []string{"ends TLS", "protocol version", "TLS 1.3"}},
		{"a server without a protocol", over(silentProtocol, quiet), Fail, []string{"is no collector"}},
		{"an HTTP server", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			time.Sleep(20 * time.Millisecond)
		}, Fail, []string{"an HTTP server", "portal"}},
		{"SSH", func(c net.Conn) {
			io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
			time.Sleep(20 * time.Millisecond)
		}, Fail, []string{"does not speak TLS"}},
		{"it closes at once", quiet, Fail, []string{"closed in the middle"}},
		{"it resets", func(c net.Conn) {
			c.Read(make([]byte, 1)) // so that the other side is at it
			c.(*net.TCPConn).SetLinger(0)
		}, Fail, []string{"closed in the middle", "inspects TLS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want(t, one(t, s.link(serve(t, c.handle)).secure(t.Context())), c.status, c.parts...)
		})
	}
	t.Run("nothing is answered", func(t *testing.T) {
		held := make(chan struct{})
		addr := serve(t, func(net.Conn) { <-held })
		defer close(held)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		want(t, one(t, s.link(addr).secure(ctx)), Fail, "gets no answer within")
	})
	t.Run("the port is closed", func(t *testing.T) {
		want(t, one(t, s.link("127.0.0.1:1").secure(t.Context())), Fail, "refused")
	})
	t.Run("there is no certificate", func(t *testing.T) {
		l := s.link("127.0.0.1:1")
		l.TLS = func() (*tls.Config, error) { return nil, io.ErrUnexpectedEOF }
		want(t, one(t, l.secure(t.Context())), Fail, "unexpected EOF")
	})
	t.Run("another name", func(t *testing.T) {
		l := s.link(serve(t, over(s.settings(good), quiet)))
		give := l.TLS
		l.TLS = func() (*tls.Config, error) {
			c, err := give()
			c.ServerName = "centre.example"
			return c, err
		}
		want(t, one(t, l.secure(t.Context())), Fail, "not for centre.example", "it has "+pki.ServerName)
	})
	t.Run("plain TCP", func(t *testing.T) {
		want(t, one(t, (&Link{Path: NewPath("127.0.0.1:1")}).secure(t.Context())), OK, "within this machine")
		want(t, one(t, (&Link{Path: NewPath("centre.example:1")}).secure(t.Context())), Warn, "whoever is on the way")
	})
}

// A box that takes TLS apart signs with an authority of its own for whatever name is
// asked; it is no Fieldpost collector.
func TestABoxThatTakesTLSApart(t *testing.T) {
	s := newSite(t)
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(nil, boxTemplate(), boxTemplate(), key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	addr := serve(t, over(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{wire.ProtocolLink}}, quiet))
	want(t, one(t, s.link(addr).secure(t.Context())), Fail, `by "Corp Inspection CA"`, "for www.example", "takes TLS apart")
}

// answering is a collector that reads a hello and then answers.
func answering(t *testing.T, answer func(net.Conn, wire.Hello)) func(net.Conn) {
	return func(c net.Conn) {
		typ, payload, _, err := wire.ReadFrame(bufio.NewReader(c), nil, wire.MaxFrame)
		if err != nil {
			return
		}
		var h wire.Hello
		if err := wire.ParseJSON(typ, payload, &h); err != nil || h.Check() != nil || h.Agent != agentID || h.Streams != 1 {
			t.Errorf("hello %+v: %v, %v", h, err, h.Check())
		}
		answer(c, h)
	}
}

func refusing(t *testing.T, code wire.RefuseCode) func(net.Conn) {
	return answering(t, func(c net.Conn, _ wire.Hello) {
		c.Write(wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: code, Message: "because"}))
	})
}

func TestAdmission(t *testing.T) {
	s, other := newSite(t), newSite(t)
	good := s.settings(s.server(t, -time.Hour, 90*24*time.Hour))
	stranger := s.settings(s.server(t, -time.Hour, 90*24*time.Hour))
	stranger.ClientCAs = pki.Pool([]*x509.Certificate{other.ca.Cert})
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		status Status
		parts  []string
	}{
		{"revoked", over(good, refusing(t, wire.RefuseRevoked)), Fail, []string{"revoked", "because", "new token"}},
		{"another protocol", over(good, refusing(t, wire.RefuseVersion)), Fail, []string{"update whichever"}},
		{"another id", over(good, refusing(t, wire.RefuseIdentity)), Fail, []string{"enrol again"}},
		{"it sheds load", over(good, refusing(t, wire.RefuseBusy)), Warn, []string{"sheds load"}},
		{"it closes", over(good, answering(t, func(net.Conn, wire.Hello) {})), Fail, []string{"without an answer"}},
		{"it says something else", over(good, answering(t, func(c net.Conn, _ wire.Hello) {
			c.Write(wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "x"}))
		})), Fail, []string{"bye"}},
		{"it trusts another authority", over(stranger, quiet), Fail, []string{"does not take this agent's certificate", "enrol again"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want(t, one(t, s.link(serve(t, c.handle)).admission(t.Context())), c.status, c.parts...)
		})
	}
	t.Run("it waits for more", func(t *testing.T) {
		addr := serve(t, over(good, answering(t, func(c net.Conn, _ wire.Hello) { c.Read(make([]byte, 1)) })))
		want(t, one(t, s.link(addr).admission(t.Context())), OK, "takes agent pump-7")
	})
	t.Run("plain TCP to a collector that wants TLS", func(t *testing.T) {
		l := &Link{Path: NewPath(serve(t, refusing(t, wire.RefuseTLS))), Agent: agentID}
		want(t, one(t, l.admission(t.Context())), Fail, "leave insecure_plaintext out")
	})
	t.Run("plain TCP to a web server", func(t *testing.T) {
		l := &Link{Path: NewPath(serve(t, func(c net.Conn) {
			c.Read(make([]byte, 8))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		})), Agent: agentID}
		want(t, one(t, l.admission(t.Context())), Fail, "no collector")
	})
	t.Run("nobody is there", func(t *testing.T) {
		l := &Link{Path: NewPath("127.0.0.1:1"), Agent: agentID}
		want(t, one(t, l.admission(t.Context())), Fail, "refused")
	})
}
