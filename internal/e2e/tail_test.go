//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// logs are three files that a writer never stops to write into.
type logs struct {
	t       *testing.T
	dir     string
	reopens bool // when another file, or none, has the name

	stop chan struct{}
	all  sync.WaitGroup

	mu      sync.Mutex
	written map[string]int // lines, by name
}

var logNames = []string{"a.log", "b.log", "c.log"}

func startLogs(t *testing.T, dir string, reopens bool) *logs {
	l := &logs{t: t, dir: dir, reopens: reopens, stop: make(chan struct{}), written: map[string]int{}}
	l.all.Go(l.write)
	t.Cleanup(l.end)
	return l
}

func (l *logs) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.all.Wait()
}

func (l *logs) write() {
	open := map[string]*os.File{}
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(time.Millisecond):
		}
		for i, name := range logNames {
			f, path := open[name], filepath.Join(l.dir, name)
			if f != nil && l.reopens {
				mine, _ := f.Stat()
				if now, err := os.Stat(path); err != nil || !os.SameFile(mine, now) {
					f.Close()
					f = nil
				}
			}
			if f == nil {
				var err error
				if f, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
					l.t.Error(err)
					return
				}
				open[name] = f
			}
			var lines []byte
			l.mu.Lock()
			for range 1 + i*3 {
				l.written[name]++
				lines = fmt.Appendf(lines, "%s %d %s\n", name, l.written[name], strings.Repeat("x", l.written[name]%100))
			}
			l.mu.Unlock()
			f.Write(lines)
		}
	}
}

// count returns how many lines were written up to now, by name.
func (l *logs) count() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.written)
}

// onDisk returns the lines that the files have now, all rotations of them.
func (l *logs) onDisk() map[string]bool {
	lines := map[string]bool{}
	list, _ := filepath.Glob(filepath.Join(l.dir, "*.log*"))
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".gz") {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
				b, err = io.ReadAll(z)
			}
		}
		if err != nil {
			l.t.Fatal(path, err)
		}
		for _, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
			lines[line] = true
		}
	}
	return lines
}

// stored returns the lines that the collector has, by lane, in order.
func (s *site) storedLines() map[string][]string {
	s.t.Helper()
	export, _, err := output(s.env, s.b.collector, "export", "--dir", s.collectorDir, "--format", "jsonl")
	if err != nil {
		s.t.Fatal(err)
	}
	lanes := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(export))
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var m struct{ Lane, Body string }
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			s.t.Fatal(err)
		}
		lanes[m.Lane] = append(lanes[m.Lane], m.Body)
	}
	return lanes
}

// logrotateOrSkip returns logrotate's path.
func logrotateOrSkip(t *testing.T) string {
	path, err := exec.LookPath("logrotate")
	if err != nil {
		path = "/usr/sbin/logrotate"
		_, err = os.Stat(path)
	}
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatal("logrotate is missing: apt-get install logrotate")
	default:
		t.Skip("logrotate is missing: apt-get install logrotate")
	}
	return ""
}

// TestTailOverLogrotate lets logrotate turn the files over while they are written and
// the agent is killed: every line that is in any of the files at the end is stored
// once, in its lane, in order. What a rotation by copying loses between the copy and
// the truncation is in none of the files: that is logrotate's own loss.
func TestTailOverLogrotate(t *testing.T) {
	program := logrotateOrSkip(t)
	for _, c := range []struct {
		name, how string
		reopens   bool
	}{
		{"renamed", "nocreate\nnocompress", true},
		{"renamed, compressed at once", "nocreate\ncompress\npostrotate\nsleep 0.1\nendscript", true},
		{"renamed, compressed at the next", "nocreate\ncompress\ndelaycompress", true},
		{"copied and truncated", "copytruncate\nnocompress", false},
		{"copied, truncated, compressed", "copytruncate\ncompress", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			dir := filepath.Join(t.TempDir(), "logs")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			s.agentConfig = fmt.Sprintf(`lanes: {b: {segment_size: 64KiB}, c: {}}
routes: [{topic: log/b.log, lane: b}, {topic: log/c.log, lane: c}]
inputs: [{file: {paths: ["%s"], topic: "log/{file}"}}]
`, filepath.Join(dir, "*.log"))
			conf, state := filepath.Join(t.TempDir(), "logrotate.conf"), filepath.Join(t.TempDir(), "state")
			text := fmt.Sprintf("%s {\nrotate 1000\nmissingok\n%s\n}\n", filepath.Join(dir, "*.log"), c.how)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s.startCollector()
			s.startAgent()
			l := startLogs(t, dir, c.reopens)
			s.eventually("the files are known", func() bool { // a file that was rotated away before that is nobody's
				lanes := s.storedLines()
				return len(lanes["default"]) > 0 && len(lanes["b"]) > 0 && len(lanes["c"]) > 0
			})
			kills := max(4, *rounds/5)
			for i := range kills {
				time.Sleep(time.Duration(s.r.Int64N(int64(300 * time.Millisecond))))
				if i%3 == 0 { // a rotation, or two, while nobody reads
					s.agent.kill()
				}
				turns := 1
				if c.reopens { // what is copied away twice before anybody has looked is not found again
					turns += i % 2
				}
				for range turns {
					if out, err := exec.Command(program, "-f", "-s", state, conf).CombinedOutput(); err != nil {
						t.Fatalf("logrotate: %v\n%s", err, out)
					}
				}
				if i%3 > 0 {
					time.Sleep(time.Duration(s.r.Int64N(int64(200 * time.Millisecond))))
					s.agent.kill()
				}
				s.startAgent()
				if !c.reopens { // the documented bound: not twice before it has looked
					s.readPast(l.count())
				}
			}
			time.Sleep(100 * time.Millisecond)
			l.end()
			s.judgeLines(l)
			t.Logf("%d kills, %v lines", kills, l.written)
		})
	}
}

// readPast waits until of each file a line is stored that was written after so many.
func (s *site) readPast(count map[string]int) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // an export takes a while itself
		behind := maps.Clone(count)
		for _, list := range s.storedLines() {
			for _, line := range list {
				name, rest, _ := strings.Cut(line, " ")
				number, _, _ := strings.Cut(rest, " ")
				if n, err := strconv.Atoi(number); err == nil && n > count[name] {
					delete(behind, name)
				}
			}
		}
		if len(behind) == 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("within a minute no line was stored that was written after the first of %v", behind)
		}
	}
}

// judgeLines waits until the store has every line that is on disk, and looks whether
// it has each once, in its lane and in order.
func (s *site) judgeLines(l *logs) {
	s.t.Helper()
	want := l.onDisk()
	missing := func() (list []string) {
		have := map[string]bool{}
		for _, lane := range s.storedLines() {
			for _, line := range lane {
				have[line] = true
			}
		}
		for line := range want {
			if !have[line] {
				list = append(list, fmt.Sprintf("%.30s", line))
			}
		}
		return list
	}
	for end := time.Now().Add(time.Minute); len(missing()) > 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			list := missing()
			out, _, _ := output(s.env, s.b.agent, "status", "--dir", s.agentDir)
			files, _ := exec.Command("ls", "-la", "--time-style=full-iso", l.dir).Output()
			s.t.Fatalf("%d of %d lines are missing, as %q\n%s%s", len(list), len(want), list[:min(10, len(list))], out, files)
		}
	}
	s.drain()
	lanes := s.storedLines()
	for name, lane := range map[string]string{"a.log": "default", "b.log": "b", "c.log": "c"} {
		last, seen := 0, map[string]bool{}
		for _, line := range lanes[lane] {
			var got string
			var n int
			if _, err := fmt.Sscanf(line, "%s %d", &got, &n); err != nil || got != name || n > l.written[name] {
				s.t.Fatalf("lane %s has %q", lane, line)
			}
			if seen[line] {
				s.t.Fatalf("lane %s has line %d twice", lane, n)
			}
			if n <= last && l.reopens {
				s.t.Fatalf("lane %s has line %d behind line %d", lane, n, last)
			}
			seen[line], last = true, n
		}
	}
}
