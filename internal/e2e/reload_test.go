//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reload has the agent take s.agentConfig, by the command.
func (s *site) reload() (code int, said string) {
	s.t.Helper()
	s.config("agent")
	out, code, err := output(s.env, s.b.agent, "reload", "--dir", s.agentDir, "--json")
	if err != nil {
		said = err.Error()
	}
	return code, said + string(out)
}

// Files that are written without a pause are read while lanes, routes and inputs
// change, by the command and by SIGHUP, and while the agent is killed: every line is
// stored once, and in order within its lane.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	all := filepath.Join(dir, "*.log")
	configs := []string{
		`lanes: {b: {segment_size: 64KiB}, c: {}}
routes: [{topic: log/b.log, lane: b}, {topic: log/c.log, lane: c}]
inputs: [{file: {paths: ["` + all + `"], topic: "log/{file}"}}]
`,
		`lanes: {b: {priority: 5, compression: s2}}
routes: [{topic: log/c.log, lane: b}]
inputs: [{file: {paths: ["` + all + `"], topic: "log/{file}"}}]
log: {level: debug}
`,
		`lanes: {c: {max_bytes: 64MiB, overflow: block}, d: {durability: always}, default: {segment_size: 128KiB}}
routes: [{topic: "log/#", lane: d}]
inputs:
- file: {paths: ["` + filepath.Join(dir, "a.log") + `"], topic: "log/{file}", max_line: 4KiB}
- file: {paths: ["` + all + `"], topic: "log/{file}"}
- host: {interval: 1h, lane: c}
`,
		`lanes: {b: {}, c: {max_age: 10h}}
routes: [{topic: log/a.log, lane: c}, {topic: log/b.log, lane: b}]
inputs: [{file: {paths: ["` + all + `"], topic: "log/{file}"}}]
heartbeat: {interval: 400ms}
`,
	}
	s.agentConfig = configs[0]
	s.startCollector()
	s.startAgent()
	l := startLogs(t, dir, false)
	s.eventually("the files are known", func() bool { return len(s.storedLines()) == 3 })
	turns := max(120, *rounds)
	slowest := time.Duration(0)
	for i := 1; i <= turns; i++ {
		text := configs[i%len(configs)]
		if i%len(configs) == 3 { // twice one key: the shared settings have it already
			text = strings.Replace(text, "heartbeat: {interval: 400ms}\n", "", 1)
		}
		s.agentConfig = text
		switch {
		case i%20 == 0:
			s.agent.kill()
			s.startAgent()
		case i%3 == 0:
			s.config("agent")
			s.agent.signal(syscall.SIGHUP)
		default:
			begin := time.Now()
			if code, said := s.reload(); code != 0 {
				t.Fatalf("reload %d: code %d, %s", i, code, said)
			}
			slowest = max(slowest, time.Since(begin))
		}
		time.Sleep(time.Duration(s.r.Int64N(int64(60 * time.Millisecond))))
	}
	l.end()
	want := 0
	for _, n := range l.written {
		want += n
	}
	stored := func() (n int) {
		for _, lane := range s.storedLines() {
			for _, line := range lane {
				if strings.Contains(line, ".log ") {
					n++
				}
			}
		}
		return n
	}
	s.eventually("all is stored", func() bool { return stored() >= want })
	s.drain()
	seen := map[string]bool{}
	for lane, lines := range s.storedLines() {
		last := map[string]int{}
		for _, line := range lines {
			var name string
			var n int
			if fmt.Sscanf(line, "%s %d", &name, &n); !strings.HasSuffix(name, ".log") {
				continue
			}
			if seen[line] || n <= last[name] {
				t.Fatalf("lane %s: line %d of %s after %d, stored before: %t", lane, n, name, last[name], seen[line])
			}
			seen[line], last[name] = true, n
		}
	}
	if len(seen) != want {
		t.Errorf("%d lines were written, %d are stored", want, len(seen))
	}
	if code, said := s.audit(); code != 0 {
		t.Errorf("audit: %d\n%s", code, said)
	}
	t.Logf("%d reloads, %d lines, the slowest reload by command took %s", turns, want, slowest.Round(time.Millisecond))
}

// A configuration that is wrong is refused whole, with its place, and what needs a
// restart with words; the old one holds.
func TestReloadRefuses(t *testing.T) {
	s := newSite(t, "")
	good := "lanes: {a: {max_messages: 7}}\nroutes: [{topic: x, lane: a}]\n"
	s.agentConfig = good
	s.startCollector()
	s.startAgent()
	for _, c := range []struct{ text, want string }{
		{"lanes: {a: {}}\nroutes: [{topic: x, lane: b}]\n", "agent.yaml:5:"},
		{"lanes: {a: {max_mesages: 7}, b: {}}\n", "did you mean max_messages"},
		{good + "log: {format: json}\n", "log.format: it takes a restart"},
		{good + "inputs: [{host: {}}]\n", "standard input is read: it takes a restart"},
		{strings.Replace(good, "{a:", "{x: {}, blocked: {}, a:", 1), "lane blocked"},
	} {
		if err := os.WriteFile(filepath.Join(s.agentDir, "lane-blocked"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s.agentConfig = c.text
		if code, said := s.reload(); code != 78 || !strings.Contains(said, c.want) {
			t.Errorf("code %d, want 78 and %q:\n%s", code, c.want, said)
		}
		out, _, _ := output(s.env, s.b.agent, "status", "--dir", s.agentDir, "--json")
		var st struct {
			Lanes []struct {
				Lane        string
				MaxMessages int  `json:"max_messages"`
				Draining    bool `json:"draining"`
			}
		}
		if err := json.Unmarshal(out, &st); err != nil || len(st.Lanes) != 2 || st.Lanes[1].MaxMessages != 7 || st.Lanes[1].Draining {
			t.Errorf("after a refusal: %v\n%s", err, out)
		}
	}
	s.agentConfig = good
	if code, said := s.reload(); code != 0 || !strings.Contains(said, `"changed": []`) {
		t.Errorf("the same again: code %d, %s", code, said)
	}
	s.agent.kill()
	if code, said := s.reload(); code != 69 {
		t.Errorf("without a daemon: code %d, %s", code, said)
	}
}

// The collector takes retention, heartbeat and log level while it runs, and no link
// ends; what needs a restart is refused.
func TestCollectorReload(t *testing.T) {
	s := newSite(t, "")
	s.agentConfig = "lanes: {default: {}}\n"
	s.startCollector()
	s.startAgent()
	path := filepath.Join(filepath.Dir(s.agentDir), "collector.yaml")
	base := "heartbeat: {interval: 300ms}\ninsecure_plaintext: true\n"
	reload := func(text string) (int, string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, code, err := output(s.env, s.b.collector, "reload", "--config", path, "--dir", s.collectorDir)
		if err != nil {
			out = append(out, err.Error()...)
		}
		return code, string(out)
	}
	s.eventually("there is a link", func() bool { st, err := s.liveStatus(); return err == nil && st.Link.State == "connected" })
	if code, said := reload(base + "retention: {age: 2m}\nlog: {level: debug}\n"); code != 0 || said != "another retention\nanother log level\n" {
		t.Errorf("code %d, %q", code, said)
	}
	for text, want := range map[string]string{
		base + "tls: {certificate_life: 24h}\n":       "insecure_plaintext",
		base + "listen: 127.0.0.1:1\nreplaces: any\n": "replaces: it takes a restart", // --listen wins over the key
		base + "retention: {age: 2}\n":                "collector.yaml:3:",
	} {
		if code, said := reload(text); code != 78 || !strings.Contains(said, want) {
			t.Errorf("code %d, want 78 and %q: %s", code, want, said)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Replace(base, "300ms", "400ms", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.collector.signal(syscall.SIGHUP)
	s.eventually("SIGHUP is obeyed", func() bool { return strings.Contains(s.collector.said.all(), "another heartbeat") })
	if now, err := s.liveStatus(); err != nil || now.Link.State != "connected" {
		t.Errorf("the link ended: %+v, %v", now, err)
	}
	if strings.Contains(s.collector.said.all(), "goodbye") {
		t.Error("the link ended")
	}
}
