package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// examine runs "agent doctor --json" and returns its report.
func examine(t *testing.T, args ...string) (doctor.Report, daemon.Code) {
	t.Helper()
	r := command(t, "", append([]string{"doctor", "--json"}, args...)...)
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if w := map[doctor.Status]daemon.Code{doctor.OK: 0, doctor.Warn: 1, doctor.Fail: 2}[report.Status]; r.code != w {
		t.Errorf("exit code %d of a report that is %s", r.code, report.Status)
	}
	for _, c := range report.Checks {
		if c.Status != doctor.OK && c.Next == "" {
			t.Errorf("no next step: %+v", c)
		}
	}
	return report, r.code
}

// line returns the first line of a check that is at least as bad as asked.
func line(t *testing.T, r doctor.Report, check string, at doctor.Status) doctor.Result {
	t.Helper()
	for _, c := range r.Checks {
		if c.Check == check && c.Status >= at {
			return c
		}
	}
	t.Errorf("no line of %s is %s: %+v", check, at, r.Checks)
	return doctor.Result{}
}

func says(t *testing.T, c doctor.Result, status doctor.Status, parts ...string) {
	t.Helper()
	if c.Status != status {
		t.Errorf("%+v: want %s", c, status)
	}
	for _, p := range parts {
		if !strings.Contains(c.About+": "+c.Text+" -> "+c.Next, p) {
			t.Errorf("%+v does not say %q", c, p)
		}
	}
}

// filled returns the folder of an agent that has accepted a message.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pump-7")
	if r := command(t, "", "send", "--dir", dir, "--id", "pump-7", "hello"); r.code != 0 {
		t.Fatal(r)
	}
	return dir
}

// enrolled puts a certificate into a folder as enrolment would, of whoever it is,
// and returns who signed it.
func enrolled(t *testing.T, dir string, id wire.AgentID, from, until time.Duration) *pki.Authority {
	t.Helper()
	ca, _, err := pki.NewAuthority(time.Now().Add(-100 * 24 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.IssueAgent(id, crypto.PublicKey(key.Public()), time.Now().Add(from), time.Now().Add(until))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pki.EncodePair(key, leaf, ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "tls")
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "agent.pem"), pair, 0o600),
		os.WriteFile(filepath.Join(folder, "ca.pem"), pki.EncodeCerts(ca.Cert), 0o600)); err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestDoctorOfAFolderAtRest(t *testing.T) {
	dir := filled(t)
	enrolled(t, dir, "pump-7", -time.Hour, 30*24*time.Hour)
	r, code := examine(t, "--dir", dir, "--collector", nobody)
	if code != 2 || r.Program != "agent" || r.Dir != dir {
		t.Errorf("code %d: %+v", code, r)
	}
	says(t, line(t, r, "identity", 0), doctor.OK, "agent pump-7")
	says(t, line(t, r, "certificate", 0), doctor.OK, "renewed by itself from")
	says(t, line(t, r, "collector", 0), doctor.OK, nobody)
	says(t, line(t, r, "port", 0), doctor.Fail, "connection refused", "collector doctor")
	says(t, line(t, r, "tls", 0), doctor.Warn, "not checked, because of: port "+nobody)
	says(t, line(t, r, "daemon", 0), doctor.Warn, "no agent runs on this folder", "agent run --dir "+dir)
	says(t, line(t, r, "link", 0), doctor.OK, "no agent runs")
	says(t, line(t, r, "queue", 0), doctor.OK, "lane default", "1 message of")
	if list, _ := os.ReadDir(dir); slices.ContainsFunc(list, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), ".doctor") }) {
		t.Error("it left something behind")
	}
}

func TestDoctorOfFoldersThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(t *testing.T, dir string) []string
		check  string
		status doctor.Status
		parts  []string
	}{
		{"no folder", func(_ *testing.T, dir string) []string { os.RemoveAll(dir); return nil }, "folder", doctor.Fail, []string{"there is no folder", "--dir"}},
		{"something else's folder", func(_ *testing.T, dir string) []string {
			os.RemoveAll(dir)
			os.MkdirAll(dir, 0o700)
			return nil
		}, "identity", doctor.Fail, []string{"is no agent's folder"}},
		{"no agent.json", func(_ *testing.T, dir string) []string { os.Remove(filepath.Join(dir, "agent.json")); return nil }, "identity", doctor.Fail, []string{"agent.json is missing or damaged"}},
		{"another id", func(t *testing.T, dir string) []string { return configured(t, dir, "id: pump-8") }, "identity", doctor.Fail, []string{"agent pump-7's, and the configuration says pump-8"}},
		{"not enrolled", func(*testing.T, string) []string { return nil }, "certificate", doctor.Fail, []string{"not enrolled", "collector token create"}},
		{"no collector", func(*testing.T, string) []string { return nil }, "collector", doctor.Fail, []string{"no collector is named"}},
		{"its certificate has ended", func(t *testing.T, dir string) []string {
			enrolled(t, dir, "pump-7", -40*24*time.Hour, -time.Hour)
			return nil
		}, "certificate", doctor.Fail, []string{"ended at"}},
		{"its renewal is late", func(t *testing.T, dir string) []string {
			enrolled(t, dir, "pump-7", -28*24*time.Hour, 2*24*time.Hour)
			return nil
		}, "certificate", doctor.Warn, []string{"renewal has been due since"}},
		{"another agent's certificate", func(t *testing.T, dir string) []string {
			enrolled(t, dir, "pump-8", -time.Hour, time.Hour)
			return nil
		}, "certificate", doctor.Fail, []string{"it is agent pump-8's"}},
		{"a clock before its certificate", func(t *testing.T, dir string) []string {
			enrolled(t, dir, "pump-7", 24*time.Hour, 48*time.Hour)
			return nil
		}, "clock", doctor.Fail, []string{"were made at"}},
		{"a typing error", func(t *testing.T, dir string) []string { return configured(t, dir, "heartbeat: {interval: 5}") }, "configuration", doctor.Fail, []string{"heartbeat.interval is wrong"}},
		{"a typing error does not hide the folder", func(t *testing.T, dir string) []string { return configured(t, dir, "heartbeat: {interval: 5}") }, "queue", doctor.OK, []string{"lane default"}},
		{"the pages' port is taken", func(t *testing.T, dir string) []string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return configured(t, dir, "http: "+l.Addr().String())
		}, "pages", doctor.Fail, []string{"another program has"}},
		{"no pages", func(*testing.T, string) []string { return nil }, "pages", doctor.OK, []string{""}},
		{"a damaged segment", func(t *testing.T, dir string) []string {
			list, _ := filepath.Glob(filepath.Join(dir, "lane-default", "*.seg"))
			if len(list) == 0 {
				t.Fatal("no segment")
			}
			b, _ := os.ReadFile(list[0])
			for i := range b {
				b[i] ^= 0x55
			}
			os.WriteFile(list[0], b, 0o600)
			return nil
		}, "queue", doctor.Fail, []string{"lane default", "agent queue verify"}},
		{"plain TCP elsewhere", func(*testing.T, string) []string {
			return []string{"--collector", "192.0.2.1:4717", "--insecure-plaintext"}
		}, "certificate", doctor.OK, []string{"plain TCP"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t)
			args := append([]string{"--dir", dir}, c.do(t, dir)...)
			if len(args) > 2 && args[2] == "--config" { // the file names the folder
				args = args[2:]
			}
			r, _ := examine(t, args...)
			says(t, line(t, r, c.check, c.status), c.status, c.parts...)
		})
	}
}

// configured writes a configuration for a folder.
func configured(t *testing.T, dir string, lines ...string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte("dir: "+dir+"\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", file}
}

func TestDoctorBesideARunningAgent(t *testing.T) {
	dir := t.TempDir()
	a, err := agent.Open(t.Context(), agent.Config{ID: "localhost", Dir: dir, Collectors: []string{nobody}, InsecurePlaintext: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	r, _ := examine(t, "--dir", dir, "--collector", nobody, "--insecure-plaintext")
	says(t, line(t, r, "daemon", doctor.Warn), doctor.Warn, "a process has the folder and answers no commands")

	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- control.Serve(ctx, l, handler(a, newInputs(a, config.Inputs{}, slog.New(slog.DiscardHandler)), nil), time.Second)
	}()
	defer func() { cancel(); <-served }()
	for a.Status().Link.Attempts == 0 {
		time.Sleep(time.Millisecond)
	}
	r, _ = examine(t, "--dir", dir, "--collector", nobody, "--insecure-plaintext")
	says(t, line(t, r, "daemon", 0), doctor.OK, "agent runs as process")
	says(t, line(t, r, "versions", 0), doctor.OK, daemon.Version())
	says(t, line(t, r, "link", 0), doctor.Fail, "connection-refused", "see port")
	says(t, line(t, r, "identity", 0), doctor.Warn, "many machines come with")
	says(t, line(t, r, "tls", 0), doctor.Warn, "not checked")
	r, _ = examine(t, configured(t, dir, "http: 127.0.0.1:1")...)
	says(t, line(t, r, "pages", 0), doctor.Warn, "nothing answers on 127.0.0.1:1")
}

func TestJudgeLink(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		link   agent.LinkStatus
		status doctor.Status
		parts  []string
	}{
		{"connected", agent.LinkStatus{State: "connected", Collector: "c:1", Since: now.Add(-time.Minute), RTT: agent.Seconds(time.Millisecond)}, doctor.OK, []string{"connected to c:1 for 1m, round trip 1ms"}},
		{"it breaks again and again", agent.LinkStatus{State: "connected", Collector: "c:1", Since: now, Links: 9, FailedAt: now.Add(-time.Minute), Cause: "timeout", Error: "silent"}, doctor.Warn, []string{"9 links", "silent"}},
		{"connecting", agent.LinkStatus{State: "connecting", Collector: "c:1"}, doctor.Warn, []string{"connecting to c:1"}},
		{"waiting", agent.LinkStatus{State: "waiting", Collector: "c:1", Attempts: 3, Cause: "name-resolution", Error: "no such host"}, doctor.Fail, []string{"3 failed attempts", "see names"}},
		{"refused", agent.LinkStatus{State: "refused", Cause: "refused:revoked", Error: "gone"}, doctor.Fail, []string{"new token"}},
		{"another store", agent.LinkStatus{State: "different-store"}, doctor.Fail, []string{"--replaces"}},
		{"a clone", agent.LinkStatus{State: "duplicate-identity"}, doctor.Fail, []string{"find the clone"}},
		{"not enrolled", agent.LinkStatus{State: "not-enrolled"}, doctor.Fail, []string{"not enrolled"}},
		{"stopped", agent.LinkStatus{State: "stopped"}, doctor.OK, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := judgeLink(&c.link, now)[0]
			says(t, doctor.Result{Status: f.Status, Text: f.Text, Next: f.Next}, c.status, c.parts...)
		})
	}
	list := judgeLink(&agent.LinkStatus{State: "connected", Exposed: "not encrypted"}, now)
	says(t, doctor.Result{Status: list[1].Status, Text: list[1].Text}, doctor.Warn, "not encrypted")
}

func TestJudgeLane(t *testing.T) {
	for _, c := range []struct {
		name   string
		lane   agent.LaneContents
		linked bool
		status []doctor.Status
		part   string
	}{
		{"well", agent.LaneContents{State: "accepting"}, true, []doctor.Status{doctor.OK}, "nothing waits"},
		{"a young backlog", agent.LaneContents{State: "accepting", Status: agent.LaneStatus{Backlog: 3, OldestAge: agent.Seconds(time.Minute)}}, true, []doctor.Status{doctor.OK}, "3 messages"},
		{"an old backlog", agent.LaneContents{State: "accepting", Status: agent.LaneStatus{Backlog: 1, OldestAge: agent.Seconds(time.Hour)}}, false, []doctor.Status{doctor.Warn}, "the oldest for 1h"},
		{"an old backlog beside a link", agent.LaneContents{State: "accepting", Status: agent.LaneStatus{Backlog: 1, OldestAge: agent.Seconds(time.Hour)}}, true, []doctor.Status{doctor.Warn}, "though there is a link"},
		{"full", agent.LaneContents{State: "full", Why: "limit"}, true, []doctor.Status{doctor.Fail, doctor.OK}, "it is full: limit"},
		{"failing", agent.LaneContents{State: "failing", Why: "EIO"}, true, []doctor.Status{doctor.Fail, doctor.OK}, "EIO"},
		{"stopped", agent.LaneContents{State: "stopped"}, true, []doctor.Status{doctor.Fail, doctor.OK}, "queue dead ls"},
		{"it cannot be opened", agent.LaneContents{State: "accepting", Status: agent.LaneStatus{Trouble: "cannot be opened"}}, true, []doctor.Status{doctor.Fail, doctor.OK}, "cannot be opened"},
		{"damaged", agent.LaneContents{State: "at-rest", Damage: []string{"x.seg"}}, false, []doctor.Status{doctor.Fail, doctor.OK}, "damaged: x.seg"},
		{"losses", agent.LaneContents{State: "accepting", Status: agent.LaneStatus{Dropped: map[wire.Reason]uint64{wire.ReasonExpired: 5}, LettersKept: 1, LettersLost: 2, Quarantined: 1, Forks: 1}}, true,
			[]doctor.Status{doctor.OK, doctor.Warn, doctor.Warn, doctor.Warn, doctor.Warn, doctor.Warn}, "5 expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := judgeLane(&c.lane, c.linked)
			var all strings.Builder
			var got []doctor.Status
			for _, f := range list {
				got = append(got, f.Status)
				fmt.Fprintln(&all, f.Text, "->", f.Next)
				if f.Status != doctor.OK && f.Next == "" {
					t.Errorf("no next step: %+v", f)
				}
			}
			if !slices.Equal(got, c.status) || !strings.Contains(all.String(), c.part) {
				t.Errorf("%v, want %v with %q:\n%s", got, c.status, c.part, all.String())
			}
		})
	}
}

func TestMachineID(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "machine-id")
	if machineID(file)[0].Status != doctor.OK {
		t.Error("a machine without one")
	}
	for text, want := range map[string]doctor.Status{"": doctor.Warn, "uninitialized\n": doctor.Warn, "0123456789abcdef0123456789abcdef\n": doctor.OK} {
		os.WriteFile(file, []byte(text), 0o600)
		if f := machineID(file)[0]; f.Status != want && f.Text != "not looked at on this system" {
			t.Errorf("%q: %+v", text, f)
		}
	}
}

// Messages, topics, headers, keys and tokens stay where they are.
func TestDoctorBundleHasNoSecrets(t *testing.T) {
	const canary = "CANARYsecret"
	dir := filepath.Join(t.TempDir(), "pump-7")
	if r := command(t, canary+" body", "send", "--dir", dir, "--id", "pump-7", "--topic", canary+"/topic", "--header", canary+"=x", "-"); r.code != 0 {
		t.Fatal(r)
	}
	enrolled(t, dir, "pump-7", -time.Hour, time.Hour)
	for _, name := range []string{"token", "tls/new-key.pem", "lane-default/" + canary} {
		os.WriteFile(filepath.Join(dir, name), []byte(canary), 0o600)
	}
	file := configured(t, dir, "collectors: [\""+nobody+"\"]", "lanes: {alarms: {max_age: 1h}}", "routes: [{topic: \""+canary+"/#\", lane: alarms}]",
		"inputs: [{exec: {command: [curl, "+canary+"]}}]")
	t.Setenv("HTTPS_PROXY", "http://joe:"+canary+"@proxy.example:3128")
	bundle := filepath.Join(t.TempDir(), "x.tar.gz")
	r := command(t, "", append([]string{"doctor", "--bundle", bundle}, file...)...)
	if r.code != 2 || !strings.Contains(r.out, "for its owner alone to read") {
		t.Fatalf("%+v", r)
	}
	all := unpack(t, bundle)
	if i := strings.Index(all, canary); i >= 0 {
		t.Errorf("a canary: %q", all[max(0, i-200):min(len(all), i+50)])
	}
	key, _ := os.ReadFile(filepath.Join(dir, "tls", "agent.pem"))
	for _, text := range strings.Split(string(key), "\n") {
		if len(text) > 20 && !strings.HasPrefix(text, "-----") && strings.Contains(all, text) {
			t.Errorf("a part of the key or certificate: %q", text)
		}
	}
	for _, part := range []string{`"check": "port"`, `"backlog": 1`, "max_age: 1h", `"batches": 1`, "topic: (removed)", "command:"} {
		if !strings.Contains(all, part) {
			t.Errorf("no %q in\n%s", part, all)
		}
	}
	if r := command(t, "", append([]string{"doctor", "--bundle", bundle}, file...)...); r.code != 2 || !strings.Contains(r.stderr, "is there already") {
		t.Errorf("a second time: %+v", r)
	}
}

// documented returns the names in the first column of the table below a heading of
// docs/DOCTOR.md.
func documented(t *testing.T, heading string) (names []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "DOCTOR.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "## "+heading+"\n")
	if !ok {
		t.Fatalf("no heading %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z-]+) \|`).FindAllStringSubmatch(rest, -1) {
		if m[1] != "check" && m[1] != "---" {
			names = append(names, m[1])
		}
	}
	return names
}

func TestDoctorIsDocumented(t *testing.T) {
	r, _ := examine(t, "--dir", filled(t), "--collector", nobody)
	var names []string
	for _, c := range r.Checks {
		if !slices.Contains(names, c.Check) {
			names = append(names, c.Check)
		}
	}
	if want := documented(t, "What the agent's looks at"); !slices.Equal(names, want) {
		t.Errorf("checks\n%q, documented are\n%q", names, want)
	}
}

func TestDoctorCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		part string
	}{
		{[]string{"doctor", "--dri", "x"}, "unknown flag"},
		{[]string{"doctor", "--collector", "nowhere"}, "host:port"},
		{[]string{"doctor", "x"}, "unknown command"},
	} {
		if r := command(t, "", c.args...); r.code != daemon.Usage || !strings.Contains(r.stderr, c.part) {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
}

// unpack returns all that a bundle has.
func unpack(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return all.String()
		}
		fmt.Fprintln(&all, "==", h.Name)
		if _, cerr := io.Copy(&all, r); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
	}
}
