package enroll

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

func registry(t testing.TB, o Options) *Registry {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	r, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// machine is an edge machine with a key and perhaps a certificate.
type machine struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &machine{key: k}
}

// request returns a request as agent, with a certificate request for id.
func (m *machine) request(t testing.TB, agent, id wire.AgentID, secret []byte) wire.Enroll {
	t.Helper()
	der, err := pki.NewRequest(id, m.key)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Enroll{Protocol: 1, Agent: agent, Token: secret, Request: der}
}

// enroll asks r straight for a certificate.
func (m *machine) enroll(t testing.TB, r *Registry, id wire.AgentID, secret []byte) error {
	t.Helper()
	by := collector.Applicant{Address: "10.0.0.1:1"}
	if secret == nil && m.cert != nil {
		by.Certificates = []*x509.Certificate{m.cert}
	}
	got, err := r.Enroll(t.Context(), by, m.request(t, id, id, secret))
	if err == nil {
		m.cert, err = x509.ParseCertificate(got.Certificate[0])
	}
	return err
}

func token(t testing.TB, r *Registry, o TokenOptions) []byte {
	t.Helper()
	k, _, err := r.CreateToken(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return k.Secret[:]
}

func wantCode(t testing.TB, what string, err error, code wire.RefuseCode, says string) {
	t.Helper()
	var d *collector.Denied
	if !errors.As(err, &d) || d.Code != code || !strings.Contains(d.Reason, says) {
		t.Errorf("%s: %v, want code %s and %q", what, err, code, says)
	}
}

// server is a collector with r on the loopback.
type server struct {
	*collector.Server
	addr  string
	store *storetest.Memory

	mu  sync.Mutex
	log strings.Builder
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func serve(t *testing.T, r *Registry) *server {
	t.Helper()
	cfg, err := r.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{store: storetest.NewMemory()}
	w := writerFunc(func(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.log.Write(p) })
	s.Server, err = collector.New(collector.Config{Store: s.store, TLS: cfg, Admit: r.Admit, Enroll: r.Enroll, Heartbeat: time.Second,
		Logger: slog.New(slog.NewTextHandler(w, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// talk sends frames as m and returns the first frame of the answer, and the
// connection.
func (s *server) talk(t *testing.T, r *Registry, m *machine, protocol string, frames []byte) (wire.Type, []byte, net.Conn, error) {
	t.Helper()
	c := &tls.Config{RootCAs: pki.Pool([]*x509.Certificate{r.authority.Cert}), ServerName: pki.ServerName, NextProtos: []string{protocol}}
	if m != nil && m.cert != nil {
		pair, err := pki.NewPair([]*x509.Certificate{m.cert}, m.key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{*pair}
	}
	conn, err := tls.Dial("tcp", s.addr, c)
	if err != nil {
		return 0, nil, nil, err
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write(frames); err != nil {
		return 0, nil, conn, err
	}
	typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
	return typ, p, conn, err
}

func hello(id wire.AgentID) []byte {
	return wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: 1, Agent: id, Instance: wire.Instance{ID: wire.NewID()}})
}

func refusal(t *testing.T, typ wire.Type, p []byte) (r wire.Refuse) {
	t.Helper()
	if typ != wire.TypeRefuse || wire.ParseJSON(typ, p, &r) != nil {
		t.Errorf("got %s %q, want a refusal", typ, p)
	}
	return r
}
