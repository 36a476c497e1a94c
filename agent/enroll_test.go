package agent

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// door is a collector of which only the enrolment answers.
type door struct {
	*pki.Authority
	addr string

	mu     sync.Mutex
	asked  []asked
	answer func(wire.Enroll, *pki.Request) (wire.Type, any) // nil: as a collector does
}

// asked is one request that has come.
type asked struct {
	wire.Enroll
	key  []byte              // public
	cert []*x509.Certificate // that was shown
}

func newDoor(t *testing.T) *door { return newDoorAt(t, time.Now()) }

// newDoorAt is a door by whose clock it is now.
func newDoorAt(t *testing.T, now time.Time) *door {
	t.Helper()
	d := &door{Authority: authority(t)}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := d.IssueServer(nil, key.Public(), now.Add(-time.Hour), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.NewPair([]*x509.Certificate{leaf, d.Cert}, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*pair}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequestClientCert, NextProtos: []string{wire.ProtocolEnroll}})
	if err != nil {
		t.Fatal(err)
	}
	d.addr = ln.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				d.serve(conn.(*tls.Conn))
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return d
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	a, _, err := pki.NewAuthority(time.Now().Add(-365 * 24 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (d *door) serve(conn *tls.Conn) {
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	typ, p, _, err := wire.ReadFrame(conn, nil, wire.MaxFrame)
	if err != nil || typ != wire.TypeEnroll {
		return
	}
	var e wire.Enroll
	if wire.ParseJSON(typ, p, &e) != nil {
		return
	}
	req, err := pki.ParseRequest(e.Request)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.asked = append(d.asked, asked{e, req.KeyInfo, conn.ConnectionState().PeerCertificates})
	answer := d.answer
	d.mu.Unlock()
	if answer == nil {
		answer = func(e wire.Enroll, req *pki.Request) (wire.Type, any) {
			return wire.TypeEnrolled, d.give(d.Authority, e.Agent, req.PublicKey)
		}
	}
	typ, body := answer(e, &req)
	conn.Write(wire.AppendJSON(nil, typ, body))
}

// give is an answer: a certificate of an hour for an agent and a key.
func (d *door) give(by *pki.Authority, id wire.AgentID, key crypto.PublicKey) wire.Enrolled {
	cert, err := by.IssueAgent(id, key, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	if err != nil {
		panic(err)
	}
	return wire.Enrolled{Certificate: [][]byte{cert.Raw}, Authorities: [][]byte{d.Cert.Raw}, Time: time.Now()}
}

func (d *door) answers(f func(wire.Enroll, *pki.Request) (wire.Type, any)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = f
}

func (d *door) requests() []asked {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *door) config(t *testing.T, dir string) EnrollConfig {
	return EnrollConfig{ID: "pump-7", Dir: dir, Collector: d.addr, Token: pki.NewToken(d.Pin()).Reveal(), Software: "test 1"}
}

func TestEnroll(t *testing.T) {
	d, dir := newDoor(t), filepath.Join(t.TempDir(), "agent")
	cfg := d.config(t, dir)
	e, err := Enroll(t.Context(), cfg)
	if err != nil || e.ID != "pump-7" || e.Collector != d.addr || time.Until(e.NotAfter) > time.Hour || time.Until(e.NotAfter) < 50*time.Minute {
		t.Fatalf("%+v, %v", e, err)
	}
	if kept, err := ReadEnrolment(dir); err != nil || kept.ID != e.ID || !kept.NotAfter.Equal(e.NotAfter) {
		t.Errorf("kept %+v, %v", kept, err)
	}
	token, _ := pki.ParseToken(cfg.Token)
	if got := d.requests(); len(got) != 1 || got[0].Agent != "pump-7" || !bytes.Equal(got[0].Token, token.Secret[:]) || got[0].Software != "test 1" || len(got[0].cert) > 0 {
		t.Errorf("asked %+v", got)
	}
	l, err := newCredentials("pump-7", dir, TLS{}, nil).load()
	if err != nil || !l.Cert.Leaf.NotAfter.Equal(e.NotAfter) {
		t.Errorf("credentials: %v", err)
	}
	if c := newCredentials("pump-8", dir, TLS{}, nil); true {
		if _, err := c.load(); err == nil || !strings.Contains(err.Error(), "pump-7") {
			t.Errorf("as another agent: %v", err)
		}
	}
	err = filepath.WalkDir(dir, func(path string, f fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := f.Info()
		if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(cfg.Token)) {
			t.Errorf("%s has the token", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, tlsFolder, pendingFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key of the enrolment stays: %v", err)
	}
}

// TestEnrollOnlyWithTheTokensCollector: whoever else answers is shown nothing.
func TestEnrollOnlyWithTheTokensCollector(t *testing.T) {
	d, dir := newDoor(t), t.TempDir()
	cfg := d.config(t, dir)
	cfg.Token = pki.NewToken(authority(t).Pin()).Reveal()
	if _, err := Enroll(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "not the collector that made the token") || Unreachable(err) {
		t.Errorf("%v", err)
	}
	if got := d.requests(); len(got) > 0 {
		t.Errorf("it was asked: %+v", got)
	}
}

// TestEnrollWithAWrongClock: it is named as the cause, and nothing is shown or
// trusted meanwhile.
func TestEnrollWithAWrongClock(t *testing.T) {
	for says, off := range map[string]time.Duration{"which is before the collector's certificate was made": 48 * time.Hour, "set the clock": -48 * time.Hour} {
		d := newDoorAt(t, time.Now().Add(off))
		_, err := Enroll(t.Context(), d.config(t, t.TempDir()))
		if err == nil || transport.CauseOf(err) != transport.CauseClock || !strings.Contains(err.Error(), says) {
			t.Errorf("the collector's clock is %s ahead: %v (cause %s)", off, err, transport.CauseOf(err))
		}
		if got := d.requests(); len(got) > 0 {
			t.Errorf("it was asked: %+v", got)
		}
	}
}

// TestEnrollAgain: what is refused, lost or wrong leaves the folder nobody's, and the
// same token may be tried again, with the same key.
func TestEnrollAgain(t *testing.T) {
	d, dir := newDoor(t), t.TempDir()
	cfg := d.config(t, dir)
	other := authority(t)
	for _, c := range []struct {
		name, want string
		answer     func(wire.Enroll, *pki.Request) (wire.Type, any)
	}{
		{"refused", "used already", func(wire.Enroll, *pki.Request) (wire.Type, any) {
			return wire.TypeRefuse, wire.Refuse{Code: wire.RefuseToken, Message: "the token was used already"}
		}},
		{"another agent's certificate", "pump-8", func(_ wire.Enroll, r *pki.Request) (wire.Type, any) {
			return wire.TypeEnrolled, d.give(d.Authority, "pump-8", r.PublicKey)
		}},
		{"another key's", "not the one that was asked for", func(wire.Enroll, *pki.Request) (wire.Type, any) {
			key, _ := pki.NewKey()
			return wire.TypeEnrolled, d.give(d.Authority, "pump-7", key.Public())
		}},
		{"another authority's", "not the one that was asked for", func(_ wire.Enroll, r *pki.Request) (wire.Type, any) {
			return wire.TypeEnrolled, d.give(other, "pump-7", r.PublicKey)
		}},
		{"no certificate", "", func(wire.Enroll, *pki.Request) (wire.Type, any) {
			return wire.TypeEnrolled, wire.Enrolled{Time: time.Now()}
		}},
		{"another frame", "", func(wire.Enroll, *pki.Request) (wire.Type, any) {
			return wire.TypeBye, wire.Bye{Reason: "no"}
		}},
	} {
		d.answers(c.answer)
		_, err := Enroll(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		for _, name := range []string{"agent.json", "tls/" + pairFile, "tls/" + caFile, "tls/" + enrolFile} {
			if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s is there: %v", c.name, name, err)
			}
		}
	}
	d.answers(nil)
	if _, err := Enroll(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for i, r := range d.requests() {
		if !bytes.Equal(r.key, d.requests()[0].key) {
			t.Errorf("attempt %d has another key", i)
		}
	}
	cfg.ID = "pump-8"
	if _, err := Enroll(t.Context(), cfg); !errors.Is(err, ErrIdentity) {
		t.Errorf("as another agent in the same folder: %v", err)
	}
}

// TestEnrollRefusesLinks: a symbolic link where keys lie is not followed.
func TestEnrollRefusesLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a right there")
	}
	d := newDoor(t)
	elsewhere := t.TempDir()
	for name, plant := range map[string]func(dir string) error{
		"the folder": func(dir string) error { return os.Symlink(elsewhere, filepath.Join(dir, tlsFolder)) },
		"the key": func(dir string) error {
			if err := os.Mkdir(filepath.Join(dir, tlsFolder), 0o700); err != nil {
				return err
			}
			return os.Symlink(filepath.Join(elsewhere, "key"), filepath.Join(dir, tlsFolder, pendingFile))
		},
	} {
		dir := t.TempDir()
		if err := plant(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Enroll(t.Context(), d.config(t, dir)); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := os.ReadDir(elsewhere); len(left) > 0 {
		t.Errorf("written elsewhere: %v", left)
	}
}

// enrolled opens an agent that is enrolled at d, whose links go nowhere.
func enrolled(t *testing.T, d *door) *Agent {
	t.Helper()
	cfg := d.config(t, t.TempDir())
	if _, err := Enroll(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return open(t, Config{ID: cfg.ID, Dir: cfg.Dir, Collectors: []string{d.addr}, Heartbeat: time.Second})
}

// TestRenewal: at two thirds of its life another certificate is fetched, for a new
// key, with the present one and no token.
func TestRenewal(t *testing.T) {
	d := newDoor(t)
	a := enrolled(t, d)
	k := &keeper{Agent: a}
	before, err := a.creds.load()
	if err != nil {
		t.Fatal(err)
	}
	due := pki.RenewAt(before.Cert.Leaf)
	k.look(t.Context(), due.Add(-time.Second))
	if n := len(d.requests()); n != 1 {
		t.Fatalf("%d requests before it is due", n)
	}
	k.look(t.Context(), due.Add(k.delay+time.Second))
	got := d.requests()
	if len(got) != 2 {
		t.Fatalf("%d requests when it is due", len(got))
	}
	if r := got[1]; len(r.Token) > 0 || r.Agent != "pump-7" || bytes.Equal(r.key, got[0].key) || len(r.cert) == 0 || !r.cert[0].Equal(before.Cert.Leaf) {
		t.Errorf("asked %+v", r)
	}
	after, err := a.creds.load()
	if err != nil || after.Cert.Leaf.Equal(before.Cert.Leaf) || sha256.Sum256(after.Cert.Leaf.RawSubjectPublicKeyInfo) != sha256.Sum256(got[1].key) {
		t.Errorf("the new one is not in use: %v", err)
	}
	if s := a.Status().Link; s.CertificateError != "" || !s.CertificateEnds.Equal(after.Cert.Leaf.NotAfter) {
		t.Errorf("status %+v", s)
	}
}

// TestRenewalThatFails is in the status, is tried again, not at once, and leaves the
// present certificate, whatever the collector answers.
func TestRenewalThatFails(t *testing.T) {
	d := newDoor(t)
	a := enrolled(t, d)
	k := &keeper{Agent: a}
	before, _ := a.creds.load()
	d.answers(func(_ wire.Enroll, r *pki.Request) (wire.Type, any) {
		return wire.TypeEnrolled, d.give(d.Authority, "pump-8", r.PublicKey)
	})
	late := pki.RenewAt(before.Cert.Leaf).Add(5 * time.Minute) // which is above the delay
	k.look(t.Context(), late)
	if s := a.Status().Link; !strings.Contains(s.CertificateError, "not renewed") || !strings.Contains(s.CertificateError, "pump-8") {
		t.Errorf("status %+v", s)
	}
	k.look(t.Context(), time.Now())
	if n := len(d.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
	if after, err := a.creds.load(); err != nil || !after.Cert.Leaf.Equal(before.Cert.Leaf) {
		t.Errorf("the present one is gone: %v", err)
	}
	d.answers(nil)
	k.retry = time.Time{}
	k.look(t.Context(), late)
	if s := a.Status().Link; s.CertificateError != "" {
		t.Errorf("status %+v", s)
	}
}

// TestAwaitsItsEnrolment: an agent without a certificate says what to run, dials
// nobody, accepts, and links within seconds of the enrolment.
func TestAwaitsItsEnrolment(t *testing.T) {
	d, dir := newDoor(t), t.TempDir()
	var mu sync.Mutex
	var dials []time.Time
	a := open(t, Config{ID: "pump-7", Dir: dir, Collectors: []string{d.addr}, Heartbeat: time.Second, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		dials = append(dials, time.Now())
		return nil, errors.New("not here")
	}})
	send(t, a, Message{Body: []byte("before")})
	wait(t, "it says so", func() bool {
		s := a.Status().Link
		return s.State == "not-enrolled" && strings.Contains(s.Error, "collector token create") && strings.Contains(s.Error, dir)
	})
	mu.Lock()
	early := len(dials)
	mu.Unlock()
	if early > 0 {
		t.Errorf("%d dials without a certificate", early)
	}
	if _, err := Enroll(t.Context(), d.config(t, dir)); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	wait(t, "it dials", func() bool { mu.Lock(); defer mu.Unlock(); return len(dials) > 0 })
	if took := time.Since(at); took > 5*time.Second {
		t.Errorf("it took %s to notice the certificate", took)
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}
