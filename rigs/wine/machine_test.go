package wine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	loader = "/usr/lib/wine/wine64"
	server = "/usr/lib/wine/wineserver64"

	// Where the programs are: a space, and letters that no code page has all of.
	programs = `C:\Program Files\Field Post üж`

	agentData  = `C:\ProgramData\Fieldpost\agent`
	storeData  = `C:\ProgramData\Fieldpost\collector`
	agentYAML  = `C:\ProgramData\Fieldpost\agent.yaml`
	dataFolder = `C:\ProgramData\Fieldpost`
)

// machine is a Windows that wine plays.
type machine struct {
	t      *testing.T
	prefix string
}

// the is the machine of all tests, one after the other: to make one takes 10 s.
var the struct {
	once   sync.Once
	dir    string
	keeper io.Closer // ends the process that keeps the machine up
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if the.keeper != nil {
		the.keeper.Close()
		c := exec.Command(server, "-k", "-w") // of this prefix only
		c.Env = environ(the.dir)
		c.Run()
	}
	if the.dir != "" {
		os.RemoveAll(the.dir)
	}
	os.Exit(code)
}

// needs skips a test where something is missing that CI must have.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must have %s", p)
		}
		t.Skipf("%s is not here", p)
	}
}

// boot returns the machine, with the programs of this tree.
func boot(t *testing.T) *machine {
	t.Helper()
	needs(t, loader, server)
	the.once.Do(func() { the.err = makeMachine() })
	must(t, the.err)
	return &machine{t, the.dir}
}

func makeMachine() (err error) {
	if the.dir, err = os.MkdirTemp("", "fieldpost-wine-"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	start := exec.CommandContext(ctx, loader, "wineboot", "-i")
	start.Env = environ(the.dir)
	if err := start.Run(); err != nil { // its output would be held open by what it leaves running
		return fmt.Errorf("make a prefix: %w", err)
	}
	// What made the prefix is waited for: services that are made while it ends, end
	// with it.
	ended := exec.CommandContext(ctx, server, "-w")
	ended.Env = environ(the.dir)
	if err := ended.Run(); err != nil {
		return fmt.Errorf("wait for the prefix: %w", err)
	}
	// Services end with the last program that is not one.
	keeper := exec.CommandContext(context.Background(), loader, "cmd.exe", "/k", "echo up")
	keeper.Env = environ(the.dir)
	if the.keeper, err = keeper.StdinPipe(); err != nil {
		return err
	}
	up, err := keeper.StdoutPipe()
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return err
	}
	if _, err := up.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for the machine to be up: %w", err)
	}
	go io.Copy(io.Discard, up) // until the machine is gone
	dll := forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036")
	if err := os.WriteFile(filepath.Join(the.dir, "drive_c/windows/system32/bcryptprimitives.dll"), dll, 0o644); err != nil {
		return err
	}
	return build(unix(the.dir, programs), "v1", "./cmd/agent", "./cmd/collector")
}

// fresh takes away what services of an earlier test have left: a machine on which
// Fieldpost has never been.
func (m *machine) fresh() {
	m.t.Helper()
	must(m.t, os.RemoveAll(m.unix(`C:\ProgramData\Fieldpost`)))
}

// build builds programs of this repository for Windows into a folder.
func build(dir, version string, packages ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ldflags := "-s -w -X github.com/fieldpost/fieldpost/internal/daemon.version=" + version
	c := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags", ldflags, "-o", dir + "/"}, packages...)...)
	c.Dir, c.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

func environ(prefix string) []string {
	return append(os.Environ(), "WINEPREFIX="+prefix, "WINEARCH=win64", "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=")
}

// unix returns where a path of C: is on this machine.
func unix(prefix, path string) string {
	return filepath.Join(prefix, "drive_c", strings.ReplaceAll(strings.TrimPrefix(path, `C:\`), `\`, "/"))
}

func (m *machine) unix(path string) string { return unix(m.prefix, path) }

// command returns a program of Windows, whose path is Windows' or whose name it
// knows.
func (m *machine) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, loader, append([]string{program}, args...)...)
	c.Env = environ(m.prefix)
	return c
}

// tryFor runs a program for so long at most.
func (m *machine) tryFor(limit time.Duration, program string, args ...string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := m.command(ctx, program, args...)
	// A file, because what stays running would hold a pipe open.
	out, err := os.Create(filepath.Join(m.t.TempDir(), "out"))
	must(m.t, err)
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	err = c.Run()
	text, rerr := os.ReadFile(out.Name())
	must(m.t, rerr)
	return strings.TrimSpace(string(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))), err
}

func (m *machine) try(program string, args ...string) (string, error) {
	m.t.Helper()
	return m.tryFor(time.Minute, program, args...)
}

// run runs a program that must succeed.
func (m *machine) run(program string, args ...string) string {
	m.t.Helper()
	out, err := m.try(program, args...)
	if err != nil {
		m.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

func (m *machine) agent(args ...string) string {
	m.t.Helper()
	return m.run(programs+`\agent.exe`, args...)
}

func (m *machine) collector(args ...string) string {
	m.t.Helper()
	return m.run(programs+`\collector.exe`, args...)
}

// processes returns the process ids here of Windows' processes whose command line
// has all of these words.
func (m *machine) processes(words ...string) (list []int) {
	entries, err := os.ReadDir("/proc")
	must(m.t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if !slices.Contains(strings.Split(string(env), "\x00"), "WINEPREFIX="+m.prefix) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if !slices.ContainsFunc(words, func(w string) bool { return !bytes.Contains(line, []byte(w)) }) {
			list = append(list, pid)
		}
	}
	return list
}

// kill kills the one process whose command line has these words.
func (m *machine) kill(words ...string) {
	m.t.Helper()
	list := m.processes(words...)
	if len(list) == 0 {
		m.t.Fatalf("no process has %q", words)
	}
	for _, pid := range list {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	m.until(fmt.Sprint(words, " to be gone"), 10*time.Second, func() bool { return len(m.processes(words...)) == 0 })
}

// until waits for a condition.
func (m *machine) until(what string, limit time.Duration, ok func() bool) {
	m.t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			m.t.Fatalf("waited %s for %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// answers waits until the agent that has dir answers. Under wine the first call of
// all is given to an end of the pipe that Windows keeps closed, and waits for ever.
func (m *machine) answers(dir string) {
	m.t.Helper()
	m.until("the agent to answer", time.Minute, func() bool {
		out, err := m.tryFor(3*time.Second, programs+`\agent.exe`, "status", "--dir", dir)
		return err == nil && !strings.Contains(out, "stopped")
	})
}

// stored waits until the collector at dir has n messages, and returns their bodies
// in their order. Nothing may be unexplained.
func (m *machine) stored(dir string, n int) (bodies []string) {
	m.t.Helper()
	out := ""
	defer func() {
		if m.t.Failed() {
			m.t.Logf("stored:\n%.2000s", out)
		}
	}()
	m.until(fmt.Sprint(n, " messages to be stored"), 40*time.Second, func() bool {
		exported, err := m.try(programs+`\collector.exe`, "export", "--dir", dir)
		out = exported
		return err == nil && len(strings.Fields(exported)) > 0 && strings.Count(exported, "\n")+1 == n
	})
	m.collector("audit", "--dir", dir)
	for line := range strings.Lines(out) {
		bodies = append(bodies, bodyOf(m.t, line))
	}
	return bodies
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
