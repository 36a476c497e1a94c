package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/wire"
)

// A bubble's clock stands at the beginning of 2000; that is the agent's.
var dawn = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// side is a certificate of a test and its key.
type side struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func makeSide(t *testing.T, parent *side, from, to time.Time) *side {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, DNSNames: []string{"centre"}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	by := &side{c, key}
	if parent != nil {
		by = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &side{cert, key}
}

func (s *side) pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{s.cert.Raw}, PrivateKey: s.key, Leaf: s.cert}
}

func (s *side) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.cert)
	return p
}

// pipe returns both ends of a connection that buffers, as TCP does.
func pipe(t *testing.T) (here, there net.Conn) {
	t.Helper()
	var n faultnet.Network
	l, err := n.Listen("centre:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = n.Line(1).Dial(t.Context(), "tcp", "centre:1"); err == nil {
		there, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return here, there
}

// TestCausesOfTLS has a failed handshake, for each cause that an operator has to
// tell from others. Where only the time is wrong it is the clock, and the link is
// not made.
func TestCausesOfTLS(t *testing.T) {
	day := 24 * time.Hour
	ca := makeSide(t, nil, dawn.Add(-100000*time.Hour), dawn.Add(500000*time.Hour))
	other := makeSide(t, nil, dawn.Add(-day), dawn.Add(day))
	good := func(by *side) *side { return makeSide(t, by, dawn.Add(-day), dawn.Add(day)) }
	future := makeSide(t, ca, dawn.Add(20*365*day), dawn.Add(21*365*day))
	past := makeSide(t, ca, dawn.Add(-300*day), dawn.Add(-day))
	now := func() time.Time { return time.Now().Add(20*365*day + day) } // a collector whose clock is right
	for _, c := range []struct {
		name          string
		server, agent *side
		trusts        *side // the agent
		clock         func() time.Time
		name2         string
		cause         Cause
		says          string
	}{
		{"good", good(ca), good(ca), ca, nil, "centre", "", ""},
		{"the agent's clock is far behind", future, future, ca, now, "centre", CauseClock, "before the collector's certificate was made"},
		{"only the agent's certificate is of the future", good(ca), future, ca, nil, "centre", CauseClock, "its own certificate was made for"},
		{"the agent's clock is far ahead", past, good(ca), ca, nil, "centre", CauseClock, "ended at"},
		{"the clocks differ", good(ca), good(ca), ca, now, "centre", CauseClock, "by the collector's clock"},
		{"the agent's certificate has expired", good(ca), past, ca, nil, "centre", CauseExpired, "enrol again"},
		{"of another authority, and of the future", future, good(ca), other, nil, "centre", CauseTLS, "not one that this agent trusts"},
		{"another authority", good(other), good(ca), ca, nil, "centre", CauseTLS, "not one that this agent trusts"},
		{"another name", good(ca), good(ca), ca, nil, "elsewhere", CauseTLS, "not one that this agent trusts"},
		{"another name, and of the future", future, good(ca), ca, nil, "elsewhere", CauseTLS, "not one that this agent trusts"},
		{"an agent of another authority", good(ca), good(other), ca, nil, "centre", CauseTLS, "does not take this agent's certificate"},
		{"an agent without a certificate", good(ca), nil, ca, nil, "centre", CauseTLS, "does not take this agent's certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := pipe(t)
				done := make(chan struct{})
				go func() {
					defer close(done)
					s := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{c.server.pair()}, ClientCAs: ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
						NextProtos: []string{wire.ProtocolLink}, MinVersion: tls.VersionTLS13, Time: c.clock, SessionTicketsDisabled: true})
					if s.Handshake() == nil {
						s.Write([]byte("hello"))
					}
					there.Close()
				}()
				cfg := Config{TLS: func(string) (*tls.Config, error) {
					x := &tls.Config{RootCAs: c.trusts.pool(), ServerName: c.name2}
					if c.agent != nil {
						x.Certificates = []tls.Certificate{c.agent.pair()}
					}
					return x, nil
				}}
				s, err := cfg.settings("centre:1", wire.ProtocolLink)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := encrypt(t.Context(), here, s, "centre:1")
				if err == nil { // a refusal of the certificate shows at the first read
					if _, err = conn.Read(make([]byte, 5)); err != nil {
						err = tlsFailure(err, s, "read", time.Now())
					}
					conn.Close()
				}
				<-done
				switch {
				case c.cause == "" && err != nil:
					t.Error(err)
				case c.cause != "" && (err == nil || CauseOf(err) != c.cause || !strings.Contains(err.Error(), c.says)):
					t.Errorf("%v (%s), want cause %s and %q", err, CauseOf(err), c.cause, c.says)
				}
			})
		})
	}
}

// What is no TLS at all is said as well.
func TestNotTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			there.Read(make([]byte, 4096))
			there.Write(wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: wire.RefuseProtocol}))
			there.Close()
		}()
		_, err := encrypt(t.Context(), here, &tls.Config{ServerName: "x", NextProtos: []string{"x"}}, "centre:1")
		if err == nil || CauseOf(err) != CauseTLS || !strings.Contains(err.Error(), "insecure_plaintext") {
			t.Errorf("%v", err)
		}
		<-done
	})
}

// Without a certificate nothing is dialed, what to do is logged once an hour, and a
// certificate that comes is taken at once.
func TestNotEnrolled(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		cfg := testConfig(nil)
		cfg.InsecurePlaintext = false
		enrolled, dialed := false, 0
		var said strings.Builder
		cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
		cfg.TLS = func(string) (*tls.Config, error) {
			if !enrolled {
				return nil, fmt.Errorf("%w: run it", ErrNotEnrolled)
			}
			return &tls.Config{}, nil
		}
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) { dialed++; return nil, errors.New("not here") }
		client, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- client.Run(ctx, newSource("l", 10, 1)) }()
		time.Sleep(150 * time.Minute)
		synctest.Wait()
		if s := client.Status(); s.State != NotEnrolled || s.Cause != CauseNotEnrolled || dialed != 0 || s.Failures[CauseNotEnrolled] > 150*2+1 {
			t.Errorf("%+v, %d dials", s, dialed)
		}
		if n := strings.Count(said.String(), "run it"); n != 3 {
			t.Errorf("it is logged %d times in two and a half hours:\n%s", n, said.String())
		}
		enrolled = true
		client.Again()
		synctest.Wait()
		if dialed != 1 {
			t.Errorf("%d dials", dialed)
		}
		cancel()
		<-done
	})
	cfg := testConfig(nil)
	cfg.InsecurePlaintext = false
	if _, err := New(cfg); err == nil {
		t.Error("neither TLS nor plain text has no error")
	}
}
