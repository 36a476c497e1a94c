package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func authority(t testing.TB) *Authority {
	a, _, err := NewAuthority(time.Now())
	return must[*Authority](t)(a, err)
}

func TestAgentURI(t *testing.T) {
	if got := AgentURI("pump-7").String(); got != "fieldpost://agent/pump-7" {
		t.Error(got)
	}
	for text, want := range map[string]wire.AgentID{
		"fieldpost://agent/pump-7": "pump-7", "fieldpost://agent/A.b_c-1": "A.b_c-1",
		"fieldpost://agent/": "", "fieldpost://agent": "", "fieldpost://agent/a/b": "", "fieldpost://agent/%61": "", "fieldpost://agent/a?x": "", "fieldpost://agent/a?": "",
		"fieldpost://agent/a#x": "", "fieldpost://AGENT/a": "", "fieldpost://u@agent/a": "", "fieldpost://agent:1/a": "", "fieldpost://collector/a": "", "fieldpost:agent/a": "",
		"fieldpost://agent/..": "", "fieldpost://agent//a": "", "fieldpost://agent/a/": "",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseAgentURI(u); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	one, two := AgentURI("a"), AgentURI("b")
	spiffe, _ := url.Parse("spiffe://x/y")
	for _, c := range []struct {
		uris []*url.URL
		ok   bool
	}{{[]*url.URL{one}, true}, {[]*url.URL{spiffe, one}, true}, {[]*url.URL{one, two}, false}, {[]*url.URL{one, one}, false}, {[]*url.URL{spiffe}, false}, {nil, false}} {
		if id, err := AgentOf(&x509.Certificate{URIs: c.uris}); (err == nil) != c.ok {
			t.Errorf("%v: %q, %v", c.uris, id, err)
		}
	}
}

func FuzzAgentURI(f *testing.F) {
	f.Add("fieldpost://agent/pump-7")
	f.Add("fieldpost://agent/%70")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		if id, err := ParseAgentURI(u); err == nil && (AgentURI(id).String() != u.String() || wire.CheckName("agent id", string(id)) != nil) {
			t.Errorf("%q is taken for agent %q", s, id)
		}
	})
}

// The literal was put together by another program from docs/PROTOCOL.md.
func TestTokenGolden(t *testing.T) {
	var token Token
	for i := range token.Secret {
		token.Secret[i] = byte(i)
	}
	for i := range token.Pin {
		token.Pin[i] = byte(0xff - i)
	}
	const want string = goldenToken
	if got := token.Reveal(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := ParseToken(" " + want + "\n"); err != nil || got != token {
		t.Errorf("%v, %v", got, err)
	}
	for i := range want {
		for _, c := range "Ax_" {
			bad := want[:i] + string(c) + want[i+1:]
			if _, err := ParseToken(bad); bad != want && err == nil {
				t.Errorf("a slip at %d is not seen", i)
			}
		}
	}
	for _, bad := range []string{"", "fpt_", want[:len(want)-1], want + "A", want[4:], strings.ToUpper(want)} {
		if _, err := ParseToken(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) && len(bad) > 4 {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// It shows itself only when it is asked to.
	for _, shown := range []string{fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token), fmt.Sprint(&token), fmt.Sprint([]Token{token})} {
		if strings.Contains(shown, want[4:20]) || strings.Contains(shown, "00010203") || strings.Contains(shown, "1 2 3") {
			t.Error(shown)
		}
	}
}

const goldenToken = "fpt_AAECAwQFBgcICQoLDA0ODxAREhP__v38-_r5-Pf29fTz8vHw7-7t7Ovq6ejn5uXk4-Lh4OrDmqI"

func FuzzParseToken(f *testing.F) {
	f.Add(goldenToken)
	f.Add("fpt_")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseToken(s); err == nil && k.Reveal() != strings.TrimSpace(s) {
			t.Errorf("%q has two forms", s)
		}
	})
}

func TestRequest(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := NewRequest("pump-7", k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(der)
	if err != nil || r.ID != "pump-7" {
		t.Fatalf("%+v, %v", r, err)
	}
	der[len(der)-1] ^= 1
	if _, err := ParseRequest(der); err == nil {
		t.Error("a request with a wrong signature is taken")
	}
	if _, err := ParseRequest(make([]byte, MaxRequest+1)); err == nil {
		t.Error("a request beyond the limit is taken")
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err = NewRequest("pump-7", weak)
	if err == nil {
		if _, err = ParseRequest(der); err == nil {
			t.Error("a key of 1024 bits is taken")
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	k, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	der, err := NewRequest("pump-7", k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := ParseRequest(der); err == nil && wire.CheckName("agent id", string(r.ID)) != nil {
			t.Errorf("a request for %q", r.ID)
		}
	})
}

// An agent's certificate is not good for a collector, nor the reverse.
func TestCertificatesAreForOneSide(t *testing.T) {
	a := authority(t)
	k, _ := NewKey()
	now := time.Now()
	agent := must[*x509.Certificate](t)(a.IssueAgent("collector.fieldpost.internal", k.Public(), now.Add(-time.Minute), now.Add(time.Hour)))
	server := must[*x509.Certificate](t)(a.IssueServer([]string{"centre", "10.0.0.1"}, k.Public(), now.Add(-time.Minute), now.Add(time.Hour)))
	roots := Pool([]*x509.Certificate{a.Cert})
	verify := func(c *x509.Certificate, name string, use x509.ExtKeyUsage) error {
		_, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{use}})
		return err
	}
	for _, name := range []string{ServerName, "centre", "10.0.0.1"} {
		if err := verify(server, name, x509.ExtKeyUsageServerAuth); err != nil {
			t.Error(err)
		}
	}
	if err := verify(agent, "", x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(agent, "", x509.ExtKeyUsageServerAuth) == nil || verify(agent, ServerName, x509.ExtKeyUsageClientAuth) == nil || verify(server, "", x509.ExtKeyUsageClientAuth) == nil {
		t.Error("a certificate is good for the other side")
	}
	if _, err := AgentOf(server); err == nil {
		t.Error("the collector's certificate names an agent")
	}
	if _, err := OpenAuthority(agent, k); err == nil {
		t.Error("an agent's certificate is taken for an authority's")
	}
}

func TestSecretFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("access lists decide there")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	if err := WriteSecret(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
	link := filepath.Join(dir, "link")
	os.Symlink(path, link)
	if _, err := ReadSecret(link); err == nil {
		t.Error("a symbolic link is read")
	}
	os.Chmod(path, 0o640)
	if _, err := ReadSecret(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
	folder := filepath.Join(dir, "tls")
	if err := MakeFolder(folder); err != nil {
		t.Fatal(err)
	}
	if err := MakeFolder(folder); err != nil {
		t.Errorf("again: %v", err)
	}
	os.Chmod(folder, 0o755)
	if MakeFolder(folder) == nil {
		t.Error("an open folder is taken")
	}
	os.Symlink(t.TempDir(), filepath.Join(dir, "away"))
	if MakeFolder(filepath.Join(dir, "away")) == nil {
		t.Error("a link is taken for the folder")
	}
}

// Files are read again when they change, bad ones keep the old in use, and both
// are logged.
func TestSource(t *testing.T) {
	dir := t.TempDir()
	files := Files{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem"), CA: filepath.Join(dir, "ca.pem")}
	a := authority(t)
	put := func(id wire.AgentID) {
		k, _ := NewKey()
		c := must[*x509.Certificate](t)(a.IssueAgent(id, k.Public(), time.Now(), time.Now().Add(time.Hour)))
		b, _ := EncodeKey(k)
		os.WriteFile(files.Key, b, 0o600)
		os.WriteFile(files.CA, EncodeCerts(a.Cert), 0o600)
		os.WriteFile(files.Cert, EncodeCerts(c), 0o600)
	}
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := NewSource(files, slog.New(slog.NewTextHandler(&log, nil)))
		if _, err := s.Get(); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("no files: %v", err)
		}
		put("a")
		time.Sleep(2 * time.Second)
		first, err := s.Get()
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := s.Get(); again != first {
			t.Error("it was read again for nothing")
		}
		os.WriteFile(files.Cert, []byte("half a certifi"), 0o600)
		time.Sleep(2 * time.Second)
		if got, err := s.Get(); got != first || err != nil || !strings.Contains(log.String(), "the old ones stay in use") {
			t.Errorf("a bad file: %v, %v; log %q", got, err, log.String())
		}
		put("b")
		if got, _ := s.Get(); got != first {
			t.Error("looked before a second was over")
		}
		time.Sleep(2 * time.Second)
		got, err := s.Get()
		if err != nil || got == first {
			t.Fatalf("new files: %v", err)
		}
		if id, _ := AgentOf(got.Cert.Leaf); id != "b" {
			t.Error(id)
		}
	})
}
