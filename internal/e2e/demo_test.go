//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// children returns the processes whose command line names dir.
func children(t *testing.T, dir string) (pids []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(dir)) && bytes.Contains(b, []byte("demo-")) {
			pids = append(pids, path)
		}
	}
	return pids
}

func TestDemo(t *testing.T) {
	t.Parallel()
	b := get(t, release)
	dir := t.TempDir()
	file := filepath.Join(dir, "lines")
	var lines bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&lines, "line %d\r\n\n", i%700)
	}
	lines.WriteString("no newline at the end")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(b.collector, "demo", "--agents", "2", "--duration", "6s", "--dir", filepath.Join(dir, "run"), "--file", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := strings.Split(strings.TrimSpace(string(out)), "\n")
	last := all[len(all)-1]
	m := regexp.MustCompile(`^accepted (\d+) stored (\d+) dropped 0 doubled 0 unexplained 0$`).FindStringSubmatch(last)
	if m == nil || m[1] != m[2] {
		t.Fatalf("last line %q\n%s", last, out)
	}
	// Each agent copied the file without a loss.
	for _, agent := range []string{"agent-1", "agent-2"} {
		export, _, err := output(nil, b.collector, "export", "--dir", filepath.Join(dir, "run", "collector"), "--format", "jsonl", "--agent", agent, "--lane", "file")
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(export, []byte("\n")); n != 6001 {
			t.Errorf("%s: %d lines of the file are stored, it has 6001", agent, n)
		}
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	p := launch(t, []string{"TMPDIR=" + tmp}, nil, "demo", get(t, release).collector, "demo")
	waitFor(t, "the children run", func() bool { return len(children(t, tmp)) == 4 })
	p.signal(syscall.SIGINT)
	if code := p.exit(t, 10*time.Second); code == 0 {
		t.Error("an interrupted demo claims success")
	}
	if left := children(t, tmp); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDemoKilledTakesItsChildrenAlong(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	p := launch(t, []string{"TMPDIR=" + tmp}, nil, "demo", get(t, release).collector, "demo")
	waitFor(t, "the children run", func() bool { return len(children(t, tmp)) == 4 })
	p.kill()
	waitFor(t, "the children end", func() bool { return len(children(t, tmp)) == 0 })
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
