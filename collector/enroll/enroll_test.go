package enroll

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/durable"
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

// TestAnAgentSpeaksForItselfAlone shows a valid certificate of the wrong agent in
// every frame that carries an id: after the hello none does.
func TestAnAgentSpeaksForItselfAlone(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	mallory, victim := newMachine(t), newMachine(t)
	for id, m := range map[wire.AgentID]*machine{"mallory": mallory, "pump-7": victim} {
		if err := m.enroll(t, r, id, token(t, r, TokenOptions{ID: string(id)})); err != nil {
			t.Fatal(err)
		}
	}
	enroll := func(agent, id wire.AgentID) []byte {
		return wire.AppendJSON(nil, wire.TypeEnroll, mallory.request(t, agent, id, nil))
	}
	for _, c := range []struct {
		name, protocol string
		frames         []byte
	}{
		{"hello", wire.ProtocolLink, hello("pump-7")},
		{"renewal", wire.ProtocolEnroll, enroll("pump-7", "pump-7")},
		{"renewal of its own, with a request for another", wire.ProtocolEnroll, enroll("mallory", "pump-7")},
		{"renewal of another, with a request of its own", wire.ProtocolEnroll, enroll("pump-7", "mallory")},
	} {
		typ, p, conn, err := s.talk(t, r, mallory, c.protocol, c.frames)
		if conn != nil {
			conn.Close()
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := refusal(t, typ, p); got.Code != wire.RefuseIdentity {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	for end := time.Now().Add(10 * time.Second); s.Stats().Unidentified > 0 || s.Stats().Refused[wire.RefuseIdentity] < 4; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			break
		}
	}
	if st := s.Stats(); st.Refused[wire.RefuseIdentity] != 4 || st.Sessions != 0 || st.Enrolled != 0 {
		t.Errorf("%+v", st)
	}
	if known, _ := s.store.Agents(t.Context()); len(known) != 0 {
		t.Errorf("the store has heard of %+v", known)
	}
	if log := s.said(); !strings.Contains(log, "mallory's") || !strings.Contains(log, "code=identity") {
		t.Errorf("it is not in the log: %s", log)
	}
	for id, m := range map[wire.AgentID]*machine{"mallory": mallory, "pump-7": victim} {
		if typ, p, conn, err := s.talk(t, r, m, wire.ProtocolLink, hello(id)); err != nil || typ != wire.TypeWelcome {
			t.Errorf("%s itself: %s %q, %v", id, typ, p, err)
		} else {
			conn.Close()
		}
	}
}

// TestNobodyFencesOrSendsForAnother: while an agent is linked, another with a valid
// certificate says hello in its name, and in its own name tells the other's stream,
// announces and sends its numbers. The link stays, and the stream is what it was.
func TestNobodyFencesOrSendsForAnother(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	mallory, victim := newMachine(t), newMachine(t)
	for id, m := range map[wire.AgentID]*machine{"mallory": mallory, "pump-7": victim} {
		if err := m.enroll(t, r, id, token(t, r, TokenOptions{ID: string(id)})); err != nil {
			t.Fatal(err)
		}
	}
	history := wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}}
	state := wire.StreamState{Lane: wire.DefaultLane, Epoch: wire.Epoch{ID: wire.NewID()}, Next: 9, Boundaries: history}
	// frames tell the stream as an agent, and send its first n numbers.
	frames := func(id wire.AgentID, n uint32) []byte {
		b := wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: 1, Agent: id, Instance: wire.Instance{ID: wire.NewID()}, Streams: 1})
		b = wire.AppendHistory(b, state)
		b = wire.AppendResume(b, wire.Resume{Stream: 1, Lane: state.Lane, Epoch: state.Epoch, Next: state.Next, Boundaries: history})
		var records []byte
		for range n {
			var err error
			if records, err = wire.AppendRecord(records, &wire.Message{Time: time.Now(), Body: []byte(id)}); err != nil {
				t.Fatal(err)
			}
		}
		batch := wire.AppendBatch(nil, wire.BatchHeader{Lane: state.Lane, Epoch: state.Epoch, Incarnation: history[0].Incarnation, First: 1, Count: n}, records)
		return wire.AppendData(b, 1, &wire.Entry{From: 1, To: wire.Seq(n), Incarnation: history[0].Incarnation, Batch: batch}, 0)
	}
	acked := func(conn net.Conn) {
		t.Helper()
		for {
			typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
			if err != nil || typ == wire.TypeRefuse {
				t.Fatalf("%s %q, %v: want an ack", typ, p, err)
			}
			if typ == wire.TypeAck {
				return
			}
		}
	}
	_, _, own, err := s.talk(t, r, victim, wire.ProtocolLink, frames("pump-7", 3))
	if err != nil {
		t.Fatal(err)
	}
	acked(own)

	typ, p, _, err := s.talk(t, r, mallory, wire.ProtocolLink, frames("pump-7", 5))
	if err != nil || refusal(t, typ, p).Code != wire.RefuseIdentity {
		t.Errorf("in its name: %s %q, %v", typ, p, err)
	}
	_, _, conn, err := s.talk(t, r, mallory, wire.ProtocolLink, frames("mallory", 5))
	if err != nil {
		t.Fatal(err)
	}
	acked(conn) // of a stream of its own, that happens to be called the same

	if _, err := own.Write(wire.AppendPing(nil, 7, nil)); err != nil {
		t.Fatal(err)
	}
	for {
		typ, p, _, err := wire.ReadFrame(own, nil, wire.MaxFrame)
		if err != nil || typ == wire.TypeRefuse || typ == wire.TypeBye {
			t.Fatalf("the agent's link has ended: %s %q, %v", typ, p, err)
		}
		if typ == wire.TypePong {
			break
		}
	}
	stored := map[wire.AgentID]wire.Seq{}
	_, err = s.store.Read(t.Context(), "", func(e collector.Stored) error {
		stored[e.Agent] += e.Entry.To - e.Entry.From + 1
		return nil
	})
	if err != nil || stored["pump-7"] != 3 || stored["mallory"] != 5 || len(stored) != 2 {
		t.Errorf("stored %v, %v", stored, err)
	}
	for _, a := range s.Agents() {
		if !a.Contested.IsZero() {
			t.Errorf("agent %s is contested", a.ID)
		}
	}
}

// Who has no certificate of the authority, or speaks nothing that we do, is not
// let in, and nothing of it reaches the store.
func TestStrangers(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	other := registry(t, Options{})
	foreign := newMachine(t)
	if err := foreign.enroll(t, other, "pump-7", token(t, other, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	nameless := newMachine(t)
	cert, err := r.authority.IssueServer(nil, nameless.key.Public(), time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	nameless.cert = cert // the collector's own kind
	for name, m := range map[string]*machine{"no certificate": newMachine(t), "another authority's": foreign, "a collector's": nameless} {
		if typ, p, _, err := s.talk(t, r, m, wire.ProtocolLink, hello("pump-7")); err == nil {
			t.Errorf("%s: got %s %q", name, typ, p)
		}
	}
	for _, protocol := range []string{"h2", ""} {
		c := &tls.Config{RootCAs: pki.Pool([]*x509.Certificate{r.authority.Cert}), ServerName: pki.ServerName}
		if protocol != "" {
			c.NextProtos = []string{protocol}
		}
		if conn, err := tls.Dial("tcp", s.addr, c); err == nil {
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadAll(conn); err == nil {
				t.Errorf("a client that speaks %q was let in", protocol)
			}
			conn.Close()
		}
	}
	// In the clear: an agent is told, a scanner is not.
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write(hello("pump-7"))
	typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	if got := refusal(t, typ, p); got.Code != wire.RefuseTLS {
		t.Errorf("%+v", got)
	}
	if known, _ := s.store.Agents(t.Context()); len(known) != 0 {
		t.Errorf("the store has heard of %+v", known)
	}
	if st := s.Stats(); st.Sessions != 0 || st.TLSFailed < 3 {
		t.Errorf("%+v", st)
	}
}

// TLS 1.2 is not spoken, and there are no session tickets.
func TestVersionAndTickets(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	c := &tls.Config{RootCAs: pki.Pool([]*x509.Certificate{r.authority.Cert}), ServerName: pki.ServerName, NextProtos: []string{wire.ProtocolEnroll}, MaxVersion: tls.VersionTLS12}
	if conn, err := tls.Dial("tcp", s.addr, c); err == nil {
		conn.Close()
		t.Error("TLS 1.2 is spoken")
	}
	m := newMachine(t)
	if err := m.enroll(t, r, "a", token(t, r, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	pair, _ := pki.NewPair([]*x509.Certificate{m.cert}, m.key)
	c = &tls.Config{RootCAs: c.RootCAs, ServerName: pki.ServerName, NextProtos: []string{wire.ProtocolLink}, Certificates: []tls.Certificate{*pair}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for range 2 {
		conn, err := tls.Dial("tcp", s.addr, c)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(hello("a"))
		if typ, _, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame); err != nil || typ != wire.TypeWelcome {
			t.Errorf("%s, %v", typ, err)
		}
		if conn.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		conn.Close()
	}
}

// A revocation ends the live link, and none of what the agent has opens another.
func TestRevoke(t *testing.T) {
	r := registry(t, Options{})
	s := serve(t, r)
	m, fleet := newMachine(t), token(t, r, TokenOptions{Uses: 5, Known: true})
	if err := m.enroll(t, r, "pump-7", token(t, r, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	_, _, conn, err := s.talk(t, r, m, wire.ProtocolLink, hello("pump-7"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { r.Watch(ctx, s.Recheck, func(err error) { t.Error(err) }) })
	defer watching.Wait()
	defer cancel()

	// By another process, as the command does it.
	cmd, err := OpenRevocations(filepath.Dir(string(r.folder)))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Revoke(t.Context(), "pump-7"); err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second)) // as is promised
	for {
		typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
		if typ == wire.TypePing {
			continue
		}
		if got := refusal(t, typ, p); got.Code != wire.RefuseRevoked {
			t.Errorf("%+v", got)
		}
		break
	}
	typ, p, _, err := s.talk(t, r, m, wire.ProtocolLink, hello("pump-7"))
	if err != nil || refusal(t, typ, p).Code != wire.RefuseRevoked {
		t.Errorf("another link: %s %q, %v", typ, p, err)
	}
	wantCode(t, "renewal", m.enroll(t, r, "pump-7", nil), wire.RefuseRevoked, "revoked at")
	wantCode(t, "a token of before", newMachine(t).enroll(t, r, "pump-7", fleet), wire.RefuseToken, "revoked after the token was made")
	if err := newMachine(t).enroll(t, r, "pump-8", fleet); err != nil {
		t.Errorf("another agent: %v", err)
	}
	time.Sleep(time.Until(r.since("pump-7").Add(1100 * time.Millisecond)))
	if err := m.enroll(t, r, "pump-7", token(t, r, TokenOptions{ID: "pump-7"})); err != nil {
		t.Fatal(err)
	}
	if err := r.Admit("pump-7", m.cert); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
}

// A token is counted, whoever asks at once; the same machine may ask again.
func TestTokensAreCounted(t *testing.T) {
	r := registry(t, Options{Known: func(id wire.AgentID) bool { return id == "known" }})
	secret := token(t, r, TokenOptions{Uses: 3})
	var mu sync.Mutex
	var all sync.WaitGroup
	good := 0
	for i := range 12 {
		m := newMachine(t)
		id := wire.AgentID(fmt.Sprintf("m-%d", i))
		all.Go(func() {
			err := m.enroll(t, r, id, secret)
			again := m.enroll(t, r, id, secret)
			mu.Lock()
			defer mu.Unlock()
			if (err == nil) != (again == nil) {
				t.Errorf("%s: first %v, then %v", id, err, again)
			}
			if err == nil {
				good++
			}
		})
	}
	all.Wait()
	if good != 3 {
		t.Errorf("%d machines with a token for 3", good)
	}
	m := newMachine(t)
	for _, c := range []struct {
		id   wire.AgentID
		o    TokenOptions
		says string // "" it works
	}{
		{"pump-7", TokenOptions{ID: "pump-7"}, ""}, {"pump-7", TokenOptions{ID: "pump-*"}, ""}, {"pump-7", TokenOptions{ID: "*-?"}, ""},
		{"pump-77", TokenOptions{ID: "pump-?"}, "is for"}, {"PUMP-7", TokenOptions{ID: "pump-*"}, "is for"}, {"x", TokenOptions{ID: "pump-7"}, "is for"},
		{"known", TokenOptions{}, "there is an agent known already"}, {"known", TokenOptions{ID: "k*"}, "there is an agent"},
		{"known", TokenOptions{ID: "known"}, ""}, {"known", TokenOptions{Known: true}, ""},
	} {
		err := m.enroll(t, r, c.id, token(t, r, c.o))
		if c.says != "" {
			wantCode(t, c.o.ID, err, wire.RefuseToken, c.says)
		} else if err != nil {
			t.Errorf("%+v for %s: %v", c.o, c.id, err)
		}
	}
	wantCode(t, "guessed", m.enroll(t, r, "x", make([]byte, wire.TokenSecret)), wire.RefuseToken, "not known here")
	wantCode(t, "nothing", newMachine(t).enroll(t, r, "x", nil), wire.RefuseToken, "neither")
	for _, o := range []TokenOptions{{TTL: time.Second}, {TTL: 25 * time.Hour}, {Uses: -1}, {Uses: MaxUses + 1}, {ID: "["}, {ID: strings.Repeat("x", 201)}} {
		if _, _, err := r.CreateToken(t.Context(), o); err == nil {
			t.Errorf("%+v has no error", o)
		}
	}
	b, err := os.ReadFile(r.folder.path(tokensFile))
	if err != nil || strings.Contains(string(b), fmt.Sprintf("%x", secret)) || strings.Contains(string(b), (pki.Token{Secret: [20]byte(secret)}).Reveal()[4:30]) {
		t.Errorf("the secret is kept: %s, %v", b, err)
	}
}

// No certificate goes out before the use of its token is on disk.
func TestATokenIsSpentBeforeTheCertificate(t *testing.T) {
	r := registry(t, Options{})
	secret := token(t, r, TokenOptions{})
	for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename} {
		end := durable.Watch(string(r.folder), func(s durable.Step, _ string) error {
			if s == step {
				return errors.New("the disk fails")
			}
			return nil
		})
		m := newMachine(t)
		if err := m.enroll(t, r, "a", secret); err == nil {
			t.Errorf("%s fails, and a certificate is given", step)
		}
		end()
	}
	if err := newMachine(t).enroll(t, r, "a", secret); err != nil {
		t.Errorf("it was spent for nothing: %v", err)
	}
}

func TestRenewal(t *testing.T) {
	r := registry(t, Options{AgentLife: time.Hour})
	now := time.Now()
	m := newMachine(t)
	give := func(a *pki.Authority, id wire.AgentID, from, to time.Time) *x509.Certificate {
		c, err := a.IssueAgent(id, m.key.Public(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	day := 24 * time.Hour
	r.authority.Cert.NotBefore = now.Add(-1000 * day) // so that there may be old ones
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		code wire.RefuseCode // "" it works
	}{
		{"good", give(r.authority, "a", now.Add(-day), now.Add(day)), ""},
		{"expired yesterday", give(r.authority, "a", now.Add(-31*day), now.Add(-day)), ""},
		{"expired 364 days ago", give(r.authority, "a", now.Add(-400*day), now.Add(-364*day)), ""},
		{"expired 366 days ago", give(r.authority, "a", now.Add(-400*day), now.Add(-366*day)), wire.RefuseToken},
		{"not yet good", give(r.authority, "a", now.Add(day), now.Add(2*day)), wire.RefuseToken},
		{"another agent's", give(r.authority, "b", now.Add(-day), now.Add(day)), wire.RefuseIdentity},
		{"another authority's", give(registry(t, Options{}).authority, "a", now.Add(-day), now.Add(day)), wire.RefuseToken},
	} {
		m.cert = c.cert
		err := m.enroll(t, r, "a", nil)
		if c.code != "" {
			wantCode(t, c.name, err, c.code, "")
		} else if err != nil || m.cert.NotAfter.Sub(now) > time.Hour+time.Minute {
			t.Errorf("%s: %v, until %s", c.name, err, m.cert.NotAfter)
		}
	}
}

// The authority is made once, and is the same after a restart.
func TestAuthorityStays(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrNone) {
		t.Errorf("Open of nothing: %v", err)
	}
	a, b := registry(t, Options{Dir: dir}), registry(t, Options{Dir: dir})
	if a.authority.Pin() != b.authority.Pin() {
		t.Error("there are two authorities")
	}
	os.Remove(filepath.Join(dir, folderName, keyFile))
	if _, err := Create(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore the folder") {
		t.Errorf("without its key: %v", err)
	}
	if _, err := Create(Options{Dir: filepath.Join(dir, "missing")}); err == nil {
		t.Error("a folder for a collector was made")
	}
}

// TestBearer: the first token lies in a file until it is taken, once; of all tokens
// only hashes are kept then, and each new one ends the one before.
func TestBearer(t *testing.T) {
	dir := t.TempDir()
	b := OpenBearer(dir)
	if b.Allows("") {
		t.Error("without a token everybody is let in")
	}
	for n := range 2 {
		if made, err := FirstBearer(t.Context(), dir); err != nil || made != (n == 0) {
			t.Fatalf("start %d: made %v, %v", n, made, err)
		}
	}
	untaken := filepath.Join(dir, folderName, untakenFile)
	if info, err := os.Stat(untaken); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	before := ""
	for n := range 3 {
		text, err := TakeBearer(t.Context(), dir)
		if err != nil || text == before {
			t.Fatalf("taken: %q, %v", text, err)
		}
		b = OpenBearer(dir)
		if !b.Allows(text) || b.Allows(text+"x") || b.Allows("") || before != "" && b.Allows(before) {
			t.Errorf("%d: the token is not told from others", n)
		}
		list, err := os.ReadDir(filepath.Join(dir, folderName))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if kept, _ := os.ReadFile(filepath.Join(dir, folderName, f.Name())); strings.Contains(string(kept), text) {
				t.Errorf("it is kept in %s", f.Name())
			}
		}
		before = text
	}
	if made, err := FirstBearer(t.Context(), dir); made || err != nil {
		t.Errorf("a later start makes one: %v", err)
	}
}

// TestBearerHalfMade: a crash between the token's file and its hash.
func TestBearerHalfMade(t *testing.T) {
	dir := t.TempDir()
	if _, err := FirstBearer(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, folderName, bearerFile)); err != nil {
		t.Fatal(err)
	}
	if made, err := FirstBearer(t.Context(), dir); !made || err != nil {
		t.Errorf("made %v, %v", made, err)
	}
	if text, err := TakeBearer(t.Context(), dir); err != nil || !OpenBearer(dir).Allows(text) {
		t.Errorf("taken %v", err)
	}
}

// TestTokenBehindARevocation: a token that is made in the second of a revocation,
// and after it, counts; one that was made before it does not.
func TestTokenBehindARevocation(t *testing.T) {
	r := registry(t, Options{})
	before := token(t, r, TokenOptions{ID: "pump-7"})
	if err := r.Revoke(t.Context(), "pump-7"); err != nil {
		t.Fatal(err)
	}
	after := token(t, r, TokenOptions{ID: "pump-7"})
	m := newMachine(t)
	wantCode(t, "a token from before the revocation", m.enroll(t, r, "pump-7", before), wire.RefuseToken, "revoked after")
	if err := m.enroll(t, r, "pump-7", after); err != nil {
		t.Errorf("the token from after it: %v", err)
	}
}

// TestCopy: the authority, revocations and the bearer token's hash go along, tokens
// and the bearer token itself do not; nothing is written where it is copied from.
func TestCopy(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	if err := Copy(dir, to); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(to); len(list) > 0 {
		t.Errorf("copied from nothing: %v", list)
	}
	r := registry(t, Options{Dir: dir})
	secret := token(t, r, TokenOptions{})
	m := newMachine(t)
	if err := m.enroll(t, r, "pump-7", token(t, r, TokenOptions{})); err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(t.Context(), "pump-8"); err != nil {
		t.Fatal(err)
	}
	if _, err := FirstBearer(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, folderName)
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(folder, 0o700)
	if err := Copy(dir, to); err != nil {
		t.Fatal(err)
	}
	c, err := Open(Options{Dir: to})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.enroll(t, c, "pump-7", nil); err != nil { // a renewal
		t.Errorf("the agent is not known to the copy: %v", err)
	}
	if c.since("pump-8").IsZero() {
		t.Error("the revocation is gone")
	}
	wantCode(t, "a token at the copy", newMachine(t).enroll(t, c, "pump-9", secret), wire.RefuseToken, "not known here")
	if _, err := os.Stat(filepath.Join(to, folderName, untakenFile)); err == nil {
		t.Error("the bearer token is in the copy")
	}
}
