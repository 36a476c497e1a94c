package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/leak"
)

// bin is the folder with the two commands, built once.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "fieldpost-commands"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(bin)
		if out, err := exec.Command("go", "build", "-o", bin+string(filepath.Separator), ".", "../agent").CombinedOutput(); err != nil {
			panic(string(out))
		}
		code := m.Run()
		http.DefaultClient.CloseIdleConnections()
		if err := leak.Find(); code == 0 && err != nil {
			println(err.Error())
			return 1
		}
		return code
	}())
}

// buffer is a process's output, read while it writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

// process is a running command.
type process struct {
	*exec.Cmd
	t           *testing.T
	out, stderr buffer
	once        sync.Once
	code        int
}

func start(t *testing.T, dir string, stdin io.Reader, name string, args ...string) *process {
	t.Helper()
	if args[0] == "run" { // these tests are about other things; secure_test.go has TLS
		args = append(slices.Clone(args), "--insecure-plaintext")
	}
	p := &process{Cmd: exec.Command(filepath.Join(bin, name), args...), t: t}
	p.Dir, p.Stdin, p.Stdout, p.Stderr = dir, stdin, &p.out, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.wait() })
	return p
}

func (p *process) wait() int {
	p.once.Do(func() { p.Wait(); p.code = p.ProcessState.ExitCode() })
	return p.code
}

// stop sends SIGTERM and returns the exit code; five seconds are the limit.
func (p *process) stop() int {
	p.t.Helper()
	begin := time.Now()
	p.Process.Signal(syscall.SIGTERM)
	code := p.wait()
	if d := time.Since(begin); d > 5*time.Second {
		p.t.Errorf("%s took %s to stop", p.Path, d)
	}
	return code
}

// call runs a command to its end.
func call(t *testing.T, dir, name string, args ...string) (code int, out, stderr string) {
	t.Helper()
	p := start(t, dir, nil, name, args...)
	code = p.wait()
	return code, p.out.String(), p.stderr.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come: %s", what)
		}
	}
}

var opened = regexp.MustCompile(`"the collector is open","listen":"([^"]+)","http":"([^"]+)"`)

// collectorDaemon starts "collector run" in dir and returns its addresses.
func collectorDaemon(t *testing.T, dir string, args ...string) (p *process, listen, pages string) {
	t.Helper()
	p = start(t, dir, nil, "collector", append([]string{"run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	eventually(t, "the collector's log says where it listens", func() bool {
		m := opened.FindStringSubmatch(p.stderr.String())
		if m != nil {
			listen, pages = m[1], m[2]
		}
		return m != nil
	})
	return p, listen, pages
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// bodies returns the bodies of exported lines, one a line.
func bodies(t *testing.T, jsonl string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(jsonl) {
		var l struct {
			Body   *string
			Base64 []byte `json:"body_base64"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Body != nil {
			l.Base64 = []byte(*l.Body)
		}
		b.Write(append(l.Base64, '\n'))
	}
	return b.String()
}

// The main job: a file is copied, and read back from beside the collector.
func TestCopyAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, listen, pages := collectorDaemon(t, dir)

	var in strings.Builder
	for i := range 5000 {
		in.WriteString(strings.Repeat("\x00\xffé line\r", i%20))
		in.WriteByte('\n')
	}
	copying := start(t, dir, strings.NewReader(in.String()), "agent", "run", "--id", "pump-7", "--collector", listen, "--topic", "pump/log")
	if code := copying.wait(); code != 0 {
		t.Fatalf("copy: code %d\n%s", code, copying.stderr.String())
	}
	code, out, stderr := call(t, dir, "collector", "export", "--format", "jsonl")
	if code != 0 || stderr != "" || bodies(t, out) != in.String() {
		t.Errorf("export: code %d, %q, %d bytes of %d", code, stderr, len(bodies(t, out)), in.Len())
	}
	for args, lines := range map[string]int{
		"--agent pump-7": 5000, "--agent pump-8": 0, "--lane default": 5000, "--lane x": 0, "--topic pump/*": 5000, "--topic *": 0,
		"--since 1h": 5000, "--until 1h": 0, "--since 2020-01-01 --until 2021-01-01T00:00:00Z": 0,
	} {
		if code, out, _ := call(t, dir, "collector", append([]string{"export"}, strings.Fields(args)...)...); code != 0 || strings.Count(out, "\n") != lines {
			t.Errorf("export %s: code %d, %d lines, want %d", args, code, strings.Count(out, "\n"), lines)
		}
	}
	for args, lines := range map[string]int{"": 10, "-n 3": 3, "-n 0": 0, "-n 99999": 5000, "-n 4 --topic pump/*": 4, "--topic other": 0} {
		code, out, stderr := call(t, dir, "collector", append([]string{"tail"}, strings.Fields(args)...)...)
		if code != 0 || strings.Count(out, "\n") != lines || !strings.Contains(stderr, "--after") {
			t.Errorf("tail %s: code %d, %d lines, want %d; %s", args, code, strings.Count(out, "\n"), lines, stderr)
		}
		if all := in.String(); lines > 0 && !strings.HasSuffix(all, bodies(t, out)) {
			t.Errorf("tail %s: not the last lines", args)
		}
	}
	if code, out, _ := call(t, dir, "collector", "tail", "--after", ""); code != 0 || bodies(t, out) != in.String() {
		t.Errorf("tail from the beginning: code %d", code)
	}

	if code, out, stderr := call(t, dir, "collector", "audit"); code != 0 || !strings.Contains(out, "1-5000") || !strings.Contains(out, "nothing is unexplained") {
		t.Errorf("audit: code %d, %s%s", code, out, stderr)
	}
	for page, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": "ok\n", "/metrics": "fieldpost_collector_stored_messages_total 5000\n",
	} {
		if status, body := get(t, "http://"+pages+page); status != 200 || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d\n%s", page, status, body)
		}
	}
}

// A daemon with --stay: its status, what is sent through it, tail -f, and how
// both daemons leave.
func TestDaemons(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, listen, _ := collectorDaemon(t, dir)
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	agent := start(t, dir, in, "agent", "run", "--id", "pump-7", "--dir", "p7", "--collector", listen, "--stay", "--topic", "line", "--lane", "lines")
	in.Close()
	follow := start(t, dir, nil, "collector", "tail", "-f", "--agent", "pump-7")
	io.WriteString(feed, "one\ntwo\n")
	eventually(t, "tail -f shows two lines", func() bool { return strings.Count(follow.out.String(), "\n") == 2 })
	if code, _, stderr := call(t, dir, "agent", "send", "--dir", "p7", "--topic", "by/hand", "three"); code != 0 {
		t.Errorf("send: code %d, %s", code, stderr)
	}
	eventually(t, "tail -f shows the third", func() bool { return bodies(t, follow.out.String()) == "one\ntwo\nthree\n" })

	eventually(t, "the agent's status is connected and has no backlog", func() bool {
		code, out, _ := call(t, dir, "agent", "status", "--dir", "p7", "--json")
		var st struct {
			Link  struct{ State, Collector string }
			Lanes []struct{ Accepted, Backlog uint64 }
		}
		if err := json.Unmarshal([]byte(out), &st); code != 0 || err != nil {
			t.Fatal(code, err, out)
		}
		return st.Link.State == "connected" && st.Link.Collector == listen && len(st.Lanes) == 2 &&
			st.Lanes[0].Accepted+st.Lanes[1].Accepted == 3 && st.Lanes[0].Backlog+st.Lanes[1].Backlog == 0
	})
	state := func() (state, cause string) {
		code, out, stderr := call(t, dir, "collector", "agents", "--json")
		var list []struct{ ID, State, Cause, Address, Connected, Seen, Software string }
		if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list) != 1 || list[0].ID != "pump-7" || list[0].Address == "" || list[0].Software == "" {
			t.Fatal(code, err, out, stderr)
		}
		return list[0].State, list[0].Cause
	}
	if s, cause := state(); s != "online" {
		t.Errorf("the agent is %s: %s", s, cause)
	}
	if code := agent.stop(); code != 0 {
		t.Errorf("the agent's exit code is %d\n%s", code, agent.stderr.String())
	}
	eventually(t, "the collector has heard the goodbye", func() bool { s, _ := state(); return s == "goodbye" })
	if code, _, stderr := call(t, dir, "collector", "run"); code != int(daemon.TryLater) || !strings.Contains(stderr, "--dir") {
		t.Errorf("a second collector: code %d, %s", code, stderr)
	}
	if code := server.stop(); code != 0 {
		t.Errorf("the collector's exit code is %d\n%s", code, server.stderr.String())
	}
	if s, _ := state(); s != "goodbye" {
		t.Errorf("at rest the agent is %s", s)
	}
	if code, out, stderr := call(t, dir, "collector", "agents"); code != 0 || !strings.Contains(out, "pump-7") || !strings.Contains(stderr, "not running") {
		t.Errorf("agents at rest: %d %s %s", code, out, stderr)
	}
	if code := follow.stop(); code != 0 {
		t.Errorf("tail's exit code is %d", code)
	}
	after := regexp.MustCompile(`--after "(.*)"`).FindStringSubmatch(follow.stderr.String())
	if after == nil {
		t.Fatalf("tail does not say how to go on: %s", follow.stderr.String())
	}
	if code, out, stderr := call(t, dir, "collector", "tail", "--after", after[1]); code != 0 || out != "" {
		t.Errorf("tail --after %s: code %d, %s %s", after[1], code, out, stderr)
	}
}

// A collector that was away: the copy waits, and is done when it is back.
func TestCollectorComesLate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, listen, _ := collectorDaemon(t, dir)
	server.stop()
	copying := start(t, dir, strings.NewReader("a\nb\nc"), "agent", "run", "--id", "p", "--dir", "p", "--collector", listen)
	eventually(t, "the agent waits with a backlog", func() bool {
		_, out, _ := call(t, dir, "agent", "status", "--dir", "p", "--json")
		return strings.Contains(out, `"backlog": 3`) && strings.Contains(out, `"connection-refused"`)
	})
	collectorDaemon(t, dir, "--listen", listen)
	if code := copying.wait(); code != 0 {
		t.Errorf("copy: code %d\n%s", code, copying.stderr.String())
	}
	if _, out, _ := call(t, dir, "collector", "export"); bodies(t, out) != "a\nb\nc\n" {
		t.Errorf("export: %s", out)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	good := filepath.Join(dir, "good.yaml")
	os.WriteFile(bad, []byte("listen: 0.0.0.0\n"), 0o600)
	os.WriteFile(good, []byte("listen: 127.0.0.1:1\nhttp: off\n"), 0o600)
	for _, c := range []struct {
		args   string
		code   daemon.Code
		stderr string
	}{
		{"run --listen 0.0.0.0", daemon.Usage, "host:port"},
		{"run --http 192.0.2.1:80 --insecure-plaintext", daemon.BadConfig, "bearer token"},
		{"token create --dir nowhere", daemon.No, "start \"collector run\" there first"},
		{"token create --ttl 25h --dir nowhere", daemon.No, "--dir"},
		{"run --replaces yesterday", daemon.Usage, "32 hex digits"},
		{"run --config " + bad, daemon.BadConfig, "bad.yaml:1:9: listen"},
		{"validate " + bad, daemon.BadConfig, "bad.yaml:1:9: listen"},
		{"validate", daemon.Usage, "name one file"},
		{"export --dir nowhere", daemon.No, "--dir"},
		{"tail --dir nowhere", daemon.No, "--dir"},
		{"agents --dir nowhere", daemon.No, "--dir"},
		{"audit --dir nowhere", daemon.No, "--dir"},
		{"export --format xml", daemon.Usage, "jsonl"},
		{"export --since tomorrow", daemon.Usage, "RFC 3339\nhow long ago"},
		{"export --agent a/b", daemon.Usage, "character 2"},
		{"tail extra", daemon.Usage, "unknown command"},
		{"bogus", daemon.Usage, "unknown command"},
	} {
		var out, stderr bytes.Buffer
		args := strings.Fields(strings.ReplaceAll(c.args, "nowhere", filepath.Join(dir, "nowhere")))
		code := daemon.Run(context.Background(), root(), args, strings.NewReader(""), &out, &stderr)
		found := false
		for _, want := range strings.Split(c.stderr, "\n") {
			found = found || strings.Contains(stderr.String(), want)
		}
		if code != c.code || !found || out.Len() > 0 {
			t.Errorf("collector %s: code %d, %q; want %d, %q", c.args, code, &stderr, c.code, c.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a reader made a folder")
	}
	var out bytes.Buffer
	if code := daemon.Run(context.Background(), root(), []string{"validate", good}, nil, &out, &out); code != 0 || out.String() != good+" is good: agents on 127.0.0.1:1; HTTP off; folder fieldpost-collector\n" {
		t.Errorf("validate: %d %s", code, &out)
	}
}

// Damage makes the audit say no and name the place; what is whole is exported.
func TestAuditNamesDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, listen, _ := collectorDaemon(t, dir)
	for _, id := range []string{"first", "second", "third"} {
		if p := start(t, dir, strings.NewReader("a\nb\n"), "agent", "run", "--id", id, "--dir", id, "--collector", listen, "--topic", "of-"+id); p.wait() != 0 {
			t.Fatal(p.stderr.String())
		}
	}
	server.stop()
	var report journal.Report
	code, out, stderr := call(t, dir, "collector", "audit", "--json")
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || !report.OK || len(report.Streams) != 3 || report.Streams[1].Stored != 2 {
		t.Fatalf("audit: code %d, %v\n%s%s", code, err, out, stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "fieldpost-collector", "*.journal"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	broken := false
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// The topic stands in the batch only.
		if i := bytes.LastIndex(b, []byte("of-second")); i >= 0 {
			b[i] ^= 0x40
			broken = true
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !broken {
		t.Fatal("the batch to break was not found")
	}
	code, out, stderr = call(t, dir, "collector", "audit")
	if code != int(daemon.No) || !strings.Contains(out, "MISSING: agent second, lane default") || !strings.Contains(out, "numbers 1-2") || !strings.Contains(stderr, "findings") {
		t.Errorf("audit of the damaged journal: code %d\n%s%s", code, out, stderr)
	}
	code, out, stderr = call(t, dir, "collector", "export")
	if code != int(daemon.No) || bodies(t, out) != "a\nb\na\nb\n" || !strings.Contains(stderr, "damaged") {
		t.Errorf("export of the damaged journal: code %d\n%s%s", code, out, stderr)
	}
}

// A cursor of another journal, and one that is none.
func TestBadCursor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, _, _ := collectorDaemon(t, dir)
	for _, cursor := range []string{"x", "1-2", "99-1-99999"} {
		if code, _, stderr := call(t, dir, "collector", "tail", "--after", cursor); code != int(daemon.Usage) || !strings.Contains(stderr, "--after") {
			t.Errorf("--after %s: code %d, %s", cursor, code, stderr)
		}
	}
	server.stop()
}

// The flags are part of the interface: each must be in its command's help.
func TestHelp(t *testing.T) {
	for name, flags := range map[string]string{
		"run":          "--config --dir --listen --http --replaces --insecure-plaintext --log-level --log-format",
		"tail":         "--dir --follow --after --agent --lane --topic --last",
		"export":       "--dir --format --since --until --agent --lane --topic",
		"agents":       "--dir --json",
		"token create": "--ttl --uses --id --known --address --bare",
		"audit":        "--dir --json",
		"demo":         "--agents --duration --dir --keep",
		"validate":     "--config",
	} {
		var out, stderr bytes.Buffer
		code := daemon.Run(context.Background(), root(), append(strings.Fields(name), "--help"), nil, &out, &stderr)
		if code != 0 || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("%s --help: %d %s%s", name, code, &out, &stderr)
		}
		for _, f := range strings.Fields(flags) {
			if !strings.Contains(out.String(), f+" ") {
				t.Errorf("%s --help lacks %s", name, f)
			}
		}
	}
}
