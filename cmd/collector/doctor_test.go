package main

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/internal/pki"
)

// examine runs the doctor of a real binary.
func examine(t *testing.T, dir, name string, args ...string) doctor.Report {
	t.Helper()
	code, out, stderr := call(t, dir, name, append([]string{"doctor", "--json"}, args...)...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if code != int(r.Status) {
		t.Errorf("exit code %d of a report that is %s", code, r.Status)
	}
	for _, c := range r.Checks {
		if c.Status != doctor.OK && c.Next == "" {
			t.Errorf("no next step: %+v", c)
		}
	}
	return r
}

// says looks for a line of a check that has a status and says something.
func says(t *testing.T, r doctor.Report, check string, status doctor.Status, part string) {
	t.Helper()
	var have []string
	for _, c := range r.Checks {
		if c.Check != check {
			continue
		}
		text := c.About + ": " + c.Text + " -> " + c.Next
		if c.Status == status && strings.Contains(text, part) {
			return
		}
		have = append(have, c.Status.String()+" "+text)
	}
	t.Errorf("%s of the %s: want %s %q, have %q", check, r.Program, status, part, have)
}

// secured starts a collector with an authority of its own and waits until it listens.
func secured(t *testing.T, dir, folder, listen string) (p *process, address string) {
	t.Helper()
	p = &process{Cmd: exec.Command(filepath.Join(bin, "collector"), "run", "--dir", folder, "--listen", listen, "--http", "off"), t: t}
	p.Dir, p.Stdout, p.Stderr = dir, &p.out, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.wait() })
	eventually(t, "the collector listens", func() bool {
		m := regexp.MustCompile(`msg="the collector is open" listen=(\S+)`).FindStringSubmatch(p.stderr.String())
		if m != nil {
			address = m[1]
		}
		return m != nil
	})
	return p, address
}

// The life of a link, as the doctors of the real binaries see it.
func TestDoctors(t *testing.T) {
	dir := t.TempDir()
	p, address := secured(t, dir, "c", "127.0.0.1:0")
	_, token, _ := call(t, dir, "collector", "token", "create", "--dir", "c", "--id", "pump-7", "--bare")
	if code, _, stderr := call(t, dir, "agent", "enroll", "--dir", "a", "--id", "pump-7", "--collector", address, "--token", strings.TrimSpace(token)); code != 0 {
		t.Fatal(stderr)
	}
	a := exec.Command(filepath.Join(bin, "agent"), "run", "--stay", "--dir", "a")
	a.Dir = dir
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { a.Wait(); close(ended) }()
	defer func() { a.Process.Kill(); <-ended }()
	session := func() (n uint64) {
		_, out, _ := call(t, dir, "collector", "agents", "--dir", "c", "--json")
		var list []view
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].State != heartbeat.Online || len(list[0].Incidents) > 0 {
			return 0
		}
		return list[0].Session
	}
	eventually(t, "the agent is online", func() bool { return session() > 0 })
	before := session()

	r := examine(t, dir, "agent", "--dir", "a")
	for _, check := range []string{"configuration", "folder", "permissions", "identity", "collector", "names", "route", "port", "certificate", "tls", "admission", "clock", "service", "daemon", "versions", "descriptors", "link", "queue"} {
		says(t, r, check, doctor.OK, "")
	}
	says(t, r, "admission", doctor.OK, "takes agent pump-7")
	says(t, r, "clock", doctor.OK, "the collector's")
	if now := session(); now != before {
		t.Errorf("the doctor has disturbed session %d: it is %d now", before, now)
	}
	if s := p.stderr.String(); strings.Contains(s, "level=WARN") || strings.Contains(s, "level=ERROR") {
		t.Errorf("the doctor makes the collector complain:\n%s", s)
	}
	c := examine(t, dir, "collector", "--dir", "c", "--listen", address, "--http", "off")
	for _, check := range []string{"configuration", "folder", "permissions", "listen", "pages", "certificate", "clock", "daemon", "versions", "descriptors", "store", "journal", "agents"} {
		says(t, c, check, doctor.OK, "")
	}
	says(t, c, "agents", doctor.OK, "1 online")
	says(t, c, "certificate", doctor.OK, "renewed by itself")
	if s := p.stderr.String(); strings.Contains(s, "level=WARN") {
		t.Errorf("the doctor makes the collector complain:\n%s", s)
	}
	says(t, examine(t, dir, "collector", "--dir", "c", "--listen", "127.0.0.1:9"), "listen", doctor.Warn, "configured for 127.0.0.1:9")

	if code, _, stderr := call(t, dir, "collector", "agents", "revoke", "--dir", "c", "pump-7"); code != 0 {
		t.Fatal(stderr)
	}
	eventually(t, "the doctor sees that it is revoked", func() bool {
		r = examine(t, dir, "agent", "--dir", "a")
		return slices.ContainsFunc(r.Checks, func(c doctor.Result) bool { return c.Check == "admission" && c.Status == doctor.Fail })
	})
	says(t, r, "admission", doctor.Fail, "revoked")
	eventually(t, "so does the link", func() bool { return strings.Contains(linkOf(examine(t, dir, "agent", "--dir", "a")), "revoked") })

	p.Process.Kill()
	p.wait()
	r = examine(t, dir, "agent", "--dir", "a")
	says(t, r, "port", doctor.Fail, "connection refused")
	says(t, r, "tls", doctor.Warn, "not checked")
	c = examine(t, dir, "collector", "--dir", "c", "--listen", address, "--http", "off")
	says(t, c, "listen", doctor.OK, "is free")
	says(t, c, "daemon", doctor.Warn, "no collector runs")
	says(t, c, "agents", doctor.OK, "1 are known")

	_, _ = secured(t, dir, "other", address)
	says(t, examine(t, dir, "agent", "--dir", "a"), "tls", doctor.Fail, "of another authority")
	says(t, examine(t, dir, "collector", "--dir", "c", "--listen", address), "listen", doctor.Fail, "another program has")

	a.Process.Kill()
	<-ended
	says(t, examine(t, dir, "agent", "--dir", "a"), "daemon", doctor.Warn, "no agent runs")
}

func linkOf(r doctor.Report) string {
	for _, c := range r.Checks {
		if c.Check == "link" && c.Status == doctor.Fail {
			return c.Text
		}
	}
	return ""
}

func TestCollectorDoctorOfFoldersThatAreWrong(t *testing.T) {
	dir := t.TempDir()
	p, address := secured(t, dir, "c", "127.0.0.1:0")
	p.stop()
	at := []string{"--dir", "c", "--listen", address, "--http", "off"}
	for _, c := range []struct {
		name   string
		do     func()
		args   []string
		check  string
		status doctor.Status
		part   string
	}{
		{"as it was left", func() {}, at, "journal", doctor.OK, "all read"},
		{"no folder", func() {}, []string{"--dir", "no"}, "folder", doctor.Fail, "there is no folder"},
		{"an address of another machine", func() {}, []string{"--dir", "c", "--listen", "192.0.2.1:4717"}, "listen", doctor.Fail, "no address 192.0.2.1:4717"},
		{"plain TCP for others", func() {}, []string{"--dir", "c", "--listen", ":0", "--http", "off", "--insecure-plaintext"}, "listen", doctor.Fail, "speak for any agent"},
		{"pages for others without a token", func() { os.Remove(filepath.Join(dir, "c", "tls", "http-token.json")) }, []string{"--dir", "c", "--listen", address, "--http", "0.0.0.0:0"}, "pages", doctor.Warn, "bearer token"},
		{"it replaces every store", func() {
			p := start(t, dir, nil, "collector", "run", "--dir", "any", "--listen", "127.0.0.1:0", "--http", "off", "--replaces", "any")
			eventually(t, "it is open", func() bool { return strings.Contains(p.stderr.String(), "the collector is open") })
			p.stop()
		}, []string{"--dir", "any"}, "store", doctor.Warn, "any other store"},
		{"a folder of something else", func() { os.Mkdir(filepath.Join(dir, "empty"), 0o700) }, []string{"--dir", "empty"}, "store", doctor.Warn, "no journal"},
		{"no certificates yet", func() {}, []string{"--dir", "empty"}, "certificate", doctor.Warn, "start the collector once"},
		{"a damaged journal", func() {
			list, _ := filepath.Glob(filepath.Join(dir, "c", "*.journal"))
			b, err := os.ReadFile(list[len(list)-1])
			if err != nil {
				t.Fatal(err)
			}
			for i := len(b) / 2; i < len(b)/2+40 && i < len(b); i++ {
				b[i] ^= 0x55
			}
			os.WriteFile(list[len(list)-1], b, 0o600)
		}, at, "journal", doctor.Fail, "damaged"},
		{"the authority's key is gone", func() { os.Remove(filepath.Join(dir, "c", "tls", "ca-key.pem")) }, at, "certificate", doctor.Fail, "ca-key.pem"},
		{"store.json is damaged", func() {
			os.WriteFile(filepath.Join(dir, "c", "store.json"), []byte(`{"format":99}`), 0o600)
		}, at, "store", doctor.Fail, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.do()
			says(t, examine(t, dir, "collector", c.args...), c.check, c.status, c.part)
		})
	}
	bad := filepath.Join(dir, "bad.yaml")
	os.WriteFile(bad, []byte("dir: c\nretention: {age: 1}\n"), 0o600)
	r := examine(t, dir, "collector", "--config", bad)
	says(t, r, "configuration", doctor.Fail, "retention.age is wrong")
	says(t, r, "folder", doctor.OK, "c is there")
}

func TestDialled(t *testing.T) {
	ca, _, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	good, err := ca.IssueServer([]string{"centre.example"}, crypto.PublicKey(key.Public()), time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		leaf *x509.Certificate
		own  bool
		want doctor.Status
	}{{good, true, doctor.OK}, {good, false, doctor.OK}, {&x509.Certificate{DNSNames: []string{"x"}}, true, doctor.Fail}, {&x509.Certificate{}, false, doctor.Fail}} {
		if f := dialled(c.leaf, c.own); f.Status != c.want || f.Status != doctor.OK && f.Next == "" {
			t.Errorf("%v: %+v", c.leaf.DNSNames, f)
		}
	}
}

func TestJudgeAgents(t *testing.T) {
	now := time.Now()
	k := known{running: true, list: []collector.AgentStatus{{ID: "a", State: heartbeat.Online}, {ID: "b", State: heartbeat.Goodbye}}}
	if list := judgeAgents(k, now); len(list) != 1 || list[0].Status != doctor.OK {
		t.Errorf("%+v", list)
	}
	for range 7 {
		k.list = append(k.list, collector.AgentStatus{ID: "c", State: heartbeat.Offline, Contested: now.Add(-time.Minute)})
	}
	list := judgeAgents(k, now)
	if len(list) != 2 || list[0].Status != doctor.Warn || list[1].Status != doctor.Warn || !strings.Contains(list[0].Text, "7 offline") || !strings.Contains(list[1].Text, "and 2 more") {
		t.Errorf("%+v", list)
	}
}

func TestSameAddress(t *testing.T) {
	for _, c := range []struct {
		is, configured string
		same           bool
	}{
		{"127.0.0.1:4717", "127.0.0.1:4717", true}, {"127.0.0.1:4717", "127.0.0.1:0", true}, {"[::]:4717", ":4717", true}, {"[::]:4717", "0.0.0.0:4717", true},
		{"127.0.0.1:4717", "127.0.0.1:4718", false}, {"127.0.0.1:4717", "10.0.0.1:4717", false}, {"127.0.0.1:4717", "localhost:4717", true},
	} {
		if sameAddress(c.is, c.configured) != c.same {
			t.Errorf("%s and %s: want %v", c.is, c.configured, c.same)
		}
	}
}

func TestCollectorDoctorIsDocumented(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "DOCTOR.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "## What the collector's looks at\n")
	text, _, _ = strings.Cut(text, "\n## ")
	both, _, _ := strings.Cut(text, "And:")
	e := &examination{cfg: config.DefaultCollector()}
	for _, c := range e.checks() {
		if !strings.Contains(text, "| "+c.Name+" |") && !strings.Contains(both, c.Name) {
			t.Errorf("docs/DOCTOR.md does not know the check %s of the collector", c.Name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z-]+) \|`).FindAllStringSubmatch(text, -1) {
		if m[1] != "check" && m[1] != "---" && !slices.ContainsFunc(e.checks(), func(c doctor.Check) bool { return c.Name == m[1] }) {
			t.Errorf("docs/DOCTOR.md has the check %s, which the collector has not", m[1])
		}
	}
}

// Neither tokens nor keys nor messages get into a collector's bundle.
func TestCollectorBundleHasNoSecrets(t *testing.T) {
	const canary = "CANARYsecret"
	dir := t.TempDir()
	_, address := secured(t, dir, "c", "127.0.0.1:0")
	_, token, _ := call(t, dir, "collector", "token", "create", "--dir", "c", "--id", "pump-7", "--uses", "2", "--bare")
	token = strings.TrimSpace(token)
	if code, _, stderr := call(t, dir, "agent", "enroll", "--dir", "a", "--id", "pump-7", "--collector", address, "--token", token); code != 0 {
		t.Fatal(stderr)
	}
	run := exec.Command(filepath.Join(bin, "agent"), "run", "--dir", "a", "--topic", canary)
	run.Dir, run.Stdin = dir, strings.NewReader(canary+" one\n"+canary+" two\n")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(dir, "c.yaml")
	os.WriteFile(file, []byte("dir: c\nlisten: "+address+"\nhttp: off\n# "+canary+"\n"), 0o600)
	bundle := filepath.Join(dir, "x.tar.gz")
	if code, out, stderr := call(t, dir, "collector", "doctor", "--config", file, "--bundle", bundle); code > 1 || !strings.Contains(out, "agents.json") {
		t.Fatalf("%d: %s%s", code, out, stderr)
	}
	all, err := exec.Command("tar", "-xzOf", bundle).Output()
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "c", "tls", "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for what, secret := range map[string]string{"a message, topic or comment": canary, "a token": token, "a key": strings.Split(string(key), "\n")[1]} {
		if strings.Contains(string(all), secret) {
			t.Errorf("%s is in the bundle", what)
		}
	}
	for _, part := range []string{`"id": "pump-7"`, `"messages": 2`, "listen: " + address} {
		if !strings.Contains(strings.ReplaceAll(string(all), `"`+address+`"`, address), part) {
			t.Errorf("the bundle has no %q:\n%s", part, all)
		}
	}
}
