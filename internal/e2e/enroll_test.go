//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secured makes the site's links TLS, with certificates that live so long.
func (s *site) secured(life time.Duration) {
	s.tls = life
}

// token makes a token and returns its text, which must be nowhere else later.
func (s *site) token(args ...string) string {
	s.t.Helper()
	out, _, err := output(nil, s.b.collector, append([]string{"token", "create", "--bare", "--dir", s.collectorDir}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.TrimSpace(string(out))
	s.secrets = append(s.secrets, text)
	return text
}

// enroll enrols the folder dir as id, over addr, and returns what was said.
func (s *site) enroll(dir, id, addr, token string) (code int, said string) {
	s.t.Helper()
	out, code, err := output([]string{"FIELDPOST_TOKEN=" + token}, s.b.agent, "enroll", "--dir", dir, "--id", id, "--collector", addr)
	return code, fmt.Sprintf("%s%v", out, err)
}

// link is what the tests read of a link's status.
type link struct {
	State     string    `json:"state"`
	Cause     string    `json:"cause"`
	Error     string    `json:"error"`
	Security  string    `json:"security"`
	CertError string    `json:"certificate_error"`
	Ends      time.Time `json:"certificate_ends"`
}

func (s *site) linkStatus() (l link) {
	out, _, err := output(nil, s.b.agent, "status", "--dir", s.agentDir, "--json")
	var st struct {
		Link link `json:"link"`
	}
	if err == nil {
		err = json.Unmarshal(out, &st)
	}
	if err != nil {
		s.t.Logf("status: %v", err)
	}
	return st.Link
}

// noSecrets fails the test if a token or a key is in what the processes said or
// what commands show.
func (s *site) noSecrets() {
	s.t.Helper()
	for _, path := range []string{filepath.Join(s.collectorDir, "tls", "ca-key.pem"), filepath.Join(s.agentDir, "tls", "agent.pem")} {
		b, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		s.secrets = append(s.secrets, strings.Split(string(b), "\n")[1]) // of the base64
	}
	var said strings.Builder
	for _, p := range s.past {
		said.WriteString(p.said.all())
	}
	for _, c := range [][]string{
		{s.b.agent, "status", "--dir", s.agentDir}, {s.b.agent, "status", "--dir", s.agentDir, "--json"},
		{s.b.collector, "agents", "--dir", s.collectorDir, "--json"}, {s.b.collector, "token", "ls", "--dir", s.collectorDir},
		{s.b.collector, "token", "ls", "--json", "--dir", s.collectorDir}, {s.b.collector, "audit", "--dir", s.collectorDir},
	} {
		out, _, err := output(nil, c[0], c[1:]...)
		fmt.Fprintf(&said, "%s%v\n", out, err)
	}
	for _, file := range []string{"tokens.json", "revoked.json"} {
		b, _ := os.ReadFile(filepath.Join(s.collectorDir, "tls", file))
		said.Write(b)
	}
	if _, page, err := fetch("http://" + s.pages + "/metrics"); err == nil {
		said.WriteString(page)
	}
	for _, secret := range s.secrets {
		if i := strings.Index(said.String(), secret); i >= 0 {
			s.t.Errorf("a secret is shown: %.200q", said.String()[max(0, i-100):])
		}
	}
}

// TestEnrolment is a life: enrolled by a token, messages delivered, the certificate
// renewed while the link stays, the collector killed, the agent revoked and enrolled
// again.
func TestEnrolment(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.secured(20 * time.Second)
	s.startCollector()
	if code, said := s.enroll(s.agentDir, agentID, s.link.Addr(), s.token("--id", agentID)); code != 0 {
		t.Fatalf("enroll: code %d, %s", code, said)
	}
	s.startAgent()
	stop := s.produce(2, 20*time.Millisecond)
	s.sends(20)
	first := s.linkStatus()
	if first.State != "connected" || first.Security != "encrypted" {
		t.Errorf("%+v", first)
	}
	s.eventually("the certificate is renewed", func() bool { return s.linkStatus().Ends.After(first.Ends) })
	s.collector.kill()
	s.sends(5)
	s.startCollector()
	s.eventually("connected again", func() bool { return s.linkStatus().State == "connected" })
	s.sends(20)

	if _, code, err := output(nil, s.b.collector, "agents", "revoke", "--dir", s.collectorDir, agentID); code != 0 {
		t.Fatal(err)
	}
	if !within(5*time.Second, func() bool { return s.linkStatus().State == "refused" }) {
		t.Errorf("5 s after the revocation: %+v", s.linkStatus())
	}
	if l := s.linkStatus(); l.Cause != "refused:revoked" {
		t.Errorf("%+v", l)
	}
	s.sends(20) // it goes on accepting
	if code, said := s.enroll(s.agentDir, agentID, s.link.Addr(), s.token("--id", agentID)); code != 0 {
		t.Fatalf("enroll again: code %d, %s", code, said)
	}
	s.eventually("the agent is back with its new certificate", func() bool { return s.linkStatus().State == "connected" })
	stop()
	s.drain()
	s.noSecrets()
	s.stop()
	s.mustHold()
}

// TestForgotten is the end of an agent, and a mistake: its link ends, it is in no list,
// audit tells of it and is satisfied; enrolled again it goes on with its old folder,
// and every message is stored once.
func TestForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.secured(0)
	s.startCollector()
	s.startAgent()
	stop := s.produce(2, 5*time.Millisecond)
	s.sends(30)
	run := func(args ...string) string {
		t.Helper()
		out, code, err := output(nil, s.b.collector, append(args, "--dir", s.collectorDir)...)
		if code != 0 {
			t.Fatal(err)
		}
		return string(out)
	}
	if out := run("agents", "forget", agentID); !strings.Contains(out, "without --yes") || s.linkStatus().State != "connected" {
		t.Errorf("only asked: %s", out)
	}
	run("agents", "forget", agentID, "--reason", "scrapped", "--yes")
	if !within(5*time.Second, func() bool { return s.linkStatus().Cause == "refused:revoked" }) {
		t.Errorf("5 s after it was forgotten: %+v", s.linkStatus())
	}
	if out := run("agents"); strings.Contains(out, agentID) {
		t.Errorf("it is in the list:\n%s", out)
	}
	if out := run("audit"); !strings.Contains(out, "FORGOTTEN: agent "+agentID) || !strings.Contains(out, "scrapped") {
		t.Errorf("the audit does not tell:\n%s", out)
	}
	s.sends(20)
	s.collector.kill()
	s.startCollector()
	if out := run("agents"); strings.Contains(out, agentID) {
		t.Errorf("it is in the list after a crash:\n%s", out)
	}
	if code, said := s.enroll(s.agentDir, agentID, s.link.Addr(), s.token("--id", agentID)); code != 0 {
		t.Fatalf("enroll again: code %d, %s", code, said)
	}
	s.eventually("the agent is back", func() bool { return s.linkStatus().State == "connected" })
	stop()
	s.drain()
	if out := run("agents", agentID); !strings.Contains(out, "had been forgotten") {
		t.Errorf("its past does not tell:\n%s", out)
	}
	s.noSecrets()
	s.stop()
	s.mustHold()
}

// TestEnrolmentRefused has every way in which a token does not open the door.
func TestEnrolmentRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.secured(0)
	s.startCollector()
	addr := s.link.Addr()
	other := newSite(t, "")
	other.secured(0)
	other.startCollector()
	dir := func(name string) string { return filepath.Join(filepath.Dir(s.agentDir), name) }

	used := s.token()
	if code, said := s.enroll(s.agentDir, agentID, addr, used); code != 0 {
		t.Fatal(said)
	}
	s.startAgent() // from now on its id is known
	s.eventually("connected", func() bool { return s.linkStatus().State == "connected" })
	revoked := s.token()
	name := strings.Fields(tokens(s))[0]
	if _, code, err := output(nil, s.b.collector, "token", "revoke", "--dir", s.collectorDir, name); code != 0 {
		t.Fatal(err)
	}
	expired := s.token()
	s.expire()

	for _, c := range []struct{ name, id, addr, token, want string }{
		{"used", "b", addr, used, "used already"},
		{"revoked", "b", addr, revoked, "not known here"},
		{"expired", "b", addr, expired, "expired"},
		{"another id", "b", addr, s.token("--id", "c"), `is for \"c\"`},
		{"no match", "b", addr, s.token("--id", "pump-*"), `is for \"pump-*\"`},
		{"a known id", agentID, addr, s.token("--id", "pump-*"), "there is an agent pump-7 already"},
		{"another collector's", "b", addr, other.token(), "not the collector that made the token"},
		{"somebody between", "b", other.listen, s.token(), "not the collector that made the token"},
		{"mutilated", "b", addr, s.token()[:40], "not all of it"},
	} {
		code, said := s.enroll(dir(strings.ReplaceAll(c.name, " ", "-")), c.id, c.addr, c.token)
		if code == 0 || !strings.Contains(said, c.want) {
			t.Errorf("%s: code %d, %s", c.name, code, said)
		}
		if strings.Contains(said, c.token) {
			t.Errorf("%s: the token is in the error", c.name)
		}
	}
	if strings.Contains(other.collector.said.all(), "an enrolment was refused") {
		t.Error("who stood between was shown a token")
	}
	// The token that somebody between was not shown is good still.
	if code, said := s.enroll(dir("good"), "pump-8", addr, s.secrets[len(s.secrets)-2]); code != 0 {
		t.Error(said)
	}
	s.noSecrets()

	// An agent of another authority, and one without a certificate.
	foreign := newSite(t, "")
	foreign.secured(0)
	if code, said := foreign.enroll(foreign.agentDir, "z", other.listen, other.token()); code != 0 {
		t.Fatal(said)
	}
	for _, c := range []struct{ dir, state, cause string }{{foreign.agentDir, "waiting", "tls"}, {dir("fresh"), "not-enrolled", "not-enrolled"}} {
		p := launch(t, nil, nil, "agent", s.b.agent, "run", "--stay", "--dir", c.dir, "--collector", addr)
		was := s.agentDir
		s.agentDir = c.dir
		if !within(10*time.Second, func() bool { l := s.linkStatus(); return l.State == c.state && l.Cause == c.cause }) {
			t.Errorf("%s: %+v", c.dir, s.linkStatus())
		}
		s.agentDir = was
		p.kill()
	}
}

// TestWhoStandsBetween sees nothing of what an agent says, and cannot change it.
func TestWhoStandsBetween(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.secured(0)
	s.startCollector()
	tap := newTap(t, s.listen)
	s.link.SetTarget(tap.addr)
	if code, said := s.enroll(s.agentDir, agentID, s.link.Addr(), s.token()); code != 0 {
		t.Fatal(said)
	}
	s.startAgent()
	const body = "the valve of pump seven is stuck"
	if err := s.send("p", []byte(body)); err != nil {
		t.Fatal(err)
	}
	s.drain()
	seen := tap.seen()
	for _, what := range append(s.secrets, body, agentID, "FPB\x01", "default") {
		if strings.Contains(seen, what) {
			t.Errorf("%q is seen on the way", what)
		}
	}
	if len(seen) < 1000 {
		t.Errorf("the tap has seen %d bytes", len(seen))
	}
	s.stop()
	if v := s.judge(); !v.OK() || v.Accepted != 1 {
		t.Errorf("%v", &v)
	}
}

// tokens returns what "token ls" prints below its head, newest first.
func tokens(s *site) string {
	s.t.Helper()
	out, _, err := output(nil, s.b.collector, "token", "ls", "--dir", s.collectorDir)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// expire lets the newest token end in the past, as if a day had gone by.
func (s *site) expire() {
	s.t.Helper()
	path := filepath.Join(s.collectorDir, "tls", "tokens.json")
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(b, &file); err != nil {
		s.t.Fatal(err)
	}
	list := file["tokens"].([]any)
	list[len(list)-1].(map[string]any)["expires"] = time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	if b, err = json.Marshal(file); err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// tap passes connections on and keeps what goes over them.
type tap struct {
	addr string
	b    buffer
}

func newTap(t *testing.T, target string) *tap {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: l.Addr().String()}
	done := make(chan struct{})
	var conns []net.Conn
	go func() {
		defer close(done)
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				from.Close()
				continue
			}
			conns = append(conns, from, to)
			go p.pass(to, from)
			go p.pass(from, to)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return p
}

func (p *tap) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.b.Write(buf[:n])
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *tap) seen() string { return p.b.all() }

// fetch gets a page.
func fetch(url string) (status int, body string, err error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(b), err
}

// TestLinkFaultsOverTLS plays the faults of a link that end or stop it in the
// middle of a record.
func TestLinkFaultsOverTLS(t *testing.T) {
	for _, l := range links {
		if l.name != "cut" && l.name != "cut within frames" && l.name != "stalled" {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.secured(0)
			s.underLoad(func() { l.hurt(s) })
			s.stop()
			s.mustHold()
		})
	}
}
