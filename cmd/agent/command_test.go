package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// nobody is an address at which no collector listens: port 1 of the loopback.
const nobody = "127.0.0.1:1"

type result struct {
	code        daemon.Code
	out, stderr string
}

func command(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return commandCtx(t.Context(), strings.NewReader(stdin), args...)
}

func commandCtx(ctx context.Context, stdin io.Reader, args ...string) result {
	return commandCued(ctx, stdin, &cue{}, args...)
}

func commandCued(ctx context.Context, stdin io.Reader, stderr *cue, args ...string) result {
	var out bytes.Buffer
	code := daemon.Run(ctx, root(), args, stdin, &out, stderr)
	return result{code, out.String(), stderr.said.String()}
}

// cue is a command's stderr. As soon as text was written to it, then is called, once.
type cue struct {
	said bytes.Buffer
	text string
	then func()
}

func (c *cue) Write(p []byte) (int, error) {
	c.said.Write(p)
	if c.then != nil && strings.Contains(c.said.String(), c.text) {
		c.then()
		c.then = nil
	}
	return len(p), nil
}

func folderStatus(t *testing.T, dir string) agent.Status {
	t.Helper()
	r := command(t, "", "status", "--dir", dir, "--json")
	var st agent.Status
	if err := json.Unmarshal([]byte(r.out), &st); r.code != 0 || err != nil {
		t.Fatalf("status: %+v, %v", r, err)
	}
	return st
}

func TestSendIntoTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	if r := command(t, "", "send", "--dir", dir, "--id", "pump-7", "--topic", "t", "--header", "k=a=b", "hello"); r != (result{}) {
		t.Fatalf("send: %+v", r)
	}
	if r := command(t, "all\nof\x00it\n", "send", "--dir", dir, "-"); r.code != 0 {
		t.Fatalf("send -: %+v", r)
	}
	if r := command(t, "no argument", "send", "--dir", dir, "--lane", "alarms"); r.code != 0 {
		t.Fatalf("send from standard input: %+v", r)
	}
	st := folderStatus(t, dir)
	if st.ID != "pump-7" || st.Link.State != "stopped" || len(st.Lanes) != 2 || st.Lanes[0].Backlog != 2 || st.Lanes[1].Lane != "alarms" || st.Lanes[1].Accepted != 1 {
		t.Errorf("status %+v", st)
	}
	r := command(t, "", "status", "--dir", dir)
	if r.code != 0 || !strings.Contains(r.out, "agent  pump-7") || !strings.Contains(r.out, "stopped") || !strings.Contains(r.out, "alarms") {
		t.Errorf("status for people: %+v", r)
	}
}

// Sends that meet in a folder without a daemon wait for one another.
func TestSendsAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if r := commandCtx(t.Context(), nil, "send", "--dir", dir, "--id", "p", "x"); r.code != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	all.Wait()
	if st := folderStatus(t, dir); st.Lanes[0].Accepted != 8 {
		t.Errorf("%d of 8 messages", st.Lanes[0].Accepted)
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if r := command(t, "", "send", "--dir", other, "--id", "pump-1", "x"); r.code != 0 {
		t.Fatal(r)
	}
	bad := filepath.Join(dir, "bad.yaml")
	os.WriteFile(bad, []byte("id: [\n"), 0o600)
	unknown := filepath.Join(dir, "unknown.yaml")
	os.WriteFile(unknown, []byte("collector: x\n"), 0o600)
	notOurs := filepath.Join(dir, "file")
	os.WriteFile(notOurs, []byte("x"), 0o600)
	garbage := filepath.Join(dir, "garbage")
	os.Mkdir(garbage, 0o700)
	os.WriteFile(filepath.Join(garbage, "agent.json"), []byte("no"), 0o600)
	huge := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        daemon.Code
		stderr      string
	}{
		{"another agent's folder", "", []string{"send", "--dir", other, "--id", "pump-2", "x"}, daemon.BadConfig, "it is pump-1's, not pump-2's"},
		{"too large", huge, []string{"send", "--dir", other, "-"}, daemon.No, "message too large"},
		{"a bad lane", "", []string{"send", "--dir", other, "--lane", "a b", "x"}, daemon.Usage, "character 2"},
		{"a bad header", "", []string{"send", "--dir", other, "--header", "novalue", "x"}, daemon.Usage, "KEY=VALUE"},
		{"two messages", "", []string{"send", "--dir", other, "a", "b"}, daemon.Usage, "at most 1"},
		{"a file for a folder", "", []string{"send", "--dir", notOurs, "x"}, daemon.No, "not a folder"},
		{"a folder of something else", "", []string{"send", "--dir", garbage, "x"}, daemon.No, "name another folder"},
		{"status of something else", "", []string{"status", "--dir", garbage}, daemon.No, "name another folder"},
		{"status of nothing", "", []string{"status", "--dir", filepath.Join(dir, "missing")}, daemon.No, "--dir"},
		{"run without a collector", "", []string{"run", "--dir", other}, daemon.Usage, "--collector"},
		{"enrol without a token", "", []string{"enroll", "--dir", other, "--collector", nobody}, daemon.Usage, "--token-file"},
		{"enrol with half a token", "", []string{"enroll", "--dir", other, "--collector", nobody, "--token", "fpt_abc"}, daemon.No, "not all of it"},
		{"enrol without a collector", "", []string{"enroll", "--dir", other, "--token", "x"}, daemon.Usage, "--collector"},
		{"run as another", "", []string{"run", "--dir", other, "--collector", nobody, "--id", "pump-2"}, daemon.BadConfig, "pump-1's"},
		{"run with a bad file", "", []string{"run", "--config", bad}, daemon.BadConfig, "bad.yaml:1:"},
		{"validate a bad file", "", []string{"validate", bad}, daemon.BadConfig, "bad.yaml:1:"},
		{"validate an unknown key", "", []string{"validate", "--config", unknown}, daemon.BadConfig, "did you mean collectors?"},
		{"validate a missing file", "", []string{"validate", filepath.Join(dir, "no.yaml")}, daemon.BadConfig, "no.yaml: cannot be read"},
		{"validate nothing", "", []string{"validate"}, daemon.Usage, "name one file"},
		{"a flag with a slip", "", []string{"run", "--collecter", nobody}, daemon.Usage, "did you mean --collector?"},
		{"a file for a folder, told once", "", []string{"run", "--dir", notOurs, "--collector", nobody}, daemon.No, "not a folder; name another folder with --dir"},
		{"no folder, told once", "", []string{"queue", "peek", "--dir", filepath.Join(dir, "missing")}, daemon.No, "agent: open "},
		{"a missing argument", "", []string{"queue", "receipt"}, daemon.Usage, "write: agent queue receipt FILE"},
		{"validate a missing file, and what next", "", []string{"validate", filepath.Join(dir, "no.yaml")}, daemon.BadConfig, "name the configuration with --config"},
		{"an unknown command", "", []string{"sned"}, daemon.Usage, "unknown command"},
	} {
		if r := command(t, c.stdin, c.args...); r.code != c.code || !strings.Contains(r.stderr, c.stderr) || r.out != "" {
			t.Errorf("%s: code %d, %q; want %d, %q", c.name, r.code, r.stderr, c.code, c.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("status made a folder")
	}
}

// Every error of the agent has its exit code, straight and over the socket.
func TestOutcomes(t *testing.T) {
	for err, want := range map[error]daemon.Code{
		agent.ErrFull: 75, errDiskFull: 75, errQuota: 75, agent.ErrInUse: 75, agent.ErrClosed: 75, agent.ErrUncertain: 76, agent.ErrIdentity: 78,
		agent.ErrUnknownLane: 78, agent.ErrDropped: 1, agent.ErrTooLarge: 1, agent.ErrNotAQueue: 1,
		control.ErrNoAnswer: 76, context.DeadlineExceeded: 75, errors.New("other"): 1,
		fmt.Errorf("%w: %w", agent.ErrUncertain, context.Canceled): 76,
	} {
		err := fmt.Errorf("wrapped: %w", err)
		if got := daemon.CodeOf(withCode(err)); got != want {
			t.Errorf("%v: code %d, want %d", err, got, want)
		}
		if got := daemon.CodeOf(refused(refusal(err))); got != want {
			t.Errorf("%v over the socket: code %d, want %d", err, got, want)
		}
	}
	for _, err := range []error{fs.ErrPermission, syscall.EROFS, agent.ErrNotAQueue} {
		if got := withCode(fmt.Errorf("wrapped: %w", err)); !errors.Is(got, err) || !strings.Contains(got.Error(), "--dir") {
			t.Errorf("%v: it does not say what to do: %v", err, got)
		}
	}
	if withCode(nil) != nil || refused(nil) != nil || refusal(nil) != nil {
		t.Error("nil became an error")
	}
}

// runDaemon runs "agent run" in this process until stop, which returns how it
// ended. It returns once the daemon answers.
func runDaemon(t *testing.T, dir string, stdin io.Reader, args ...string) (stop func() result) {
	t.Helper()
	return runCued(t, dir, stdin, &cue{}, args...)
}

func runCued(t *testing.T, dir string, stdin io.Reader, stderr *cue, args ...string) (stop func() result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result, 1)
	go func() {
		ended <- commandCued(ctx, stdin, stderr, append([]string{"run", "--dir", dir, "--insecure-plaintext", "--collector", nobody, "--log-level", "error"}, args...)...)
	}()
	var r *result
	stop = func() result {
		if r == nil {
			cancel()
			got := <-ended
			r = &got
		}
		return *r
	}
	t.Cleanup(func() { stop() })
	for !running(t.Context(), dir) {
		select {
		case got := <-ended:
			r = &got
			t.Fatalf("the daemon ended: %+v", got)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return stop
}

func waitFor(t *testing.T, dir string, what func(agent.Status) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		st := folderStatus(t, dir)
		if what(st) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it does not come: %+v", st)
		}
	}
}

func TestTheDaemonAnswers(t *testing.T) {
	dir := t.TempDir()
	cfg := filepath.Join(t.TempDir(), "agent.yaml")
	os.WriteFile(cfg, []byte("id: pump-7\nlanes: {alarms: }\nroutes: [{topic: +/alarm/#, lane: alarms}]\n"), 0o600)
	in, feed := io.Pipe()
	defer in.Close()
	stop := runDaemon(t, dir, in, "--config", cfg, "--stay", "--topic", "line")
	io.WriteString(feed, "one\ntwo\n")
	waitFor(t, dir, func(st agent.Status) bool { return st.Lanes[0].Accepted == 2 })

	for _, args := range [][]string{
		{"send", "--dir", dir, "three"},
		{"send", "--dir", dir, "--topic", "pump/alarm/high", "to alarms, by the daemon's route"},
		{"send", "--dir", dir, "--topic", "x", "--lane", "alarms", "to alarms, by name"},
	} {
		if r := command(t, "", args...); r.code != 0 {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if r := command(t, "", "send", "--dir", dir, "--lane", "nobodys", "x"); r.code != daemon.BadConfig || !strings.Contains(r.stderr, "nobodys") {
		t.Errorf("to an unknown lane: %+v", r)
	}
	waitFor(t, dir, func(st agent.Status) bool {
		return st.ID == "pump-7" && st.Lanes[0].Accepted == 3 && st.Lanes[1].Accepted == 2 && st.Link.State == "waiting" && st.Link.Cause == "connection-refused"
	})
	r := command(t, "", "status", "--dir", dir)
	for _, want := range []string{"waiting " + nobody, "cause  connection-refused", "next attempt in", "alarms"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("status does not say %q:\n%s", want, r.out)
		}
	}
	// The folder is taken: a second daemon says so at once, and hurts nothing.
	if r := command(t, "", "run", "--dir", dir, "--collector", nobody); r.code != daemon.TryLater || !strings.Contains(r.stderr, "in use") {
		t.Errorf("a second daemon: %+v", r)
	}
	feed.Close() // with --stay the end of the input ends nothing
	if r := command(t, "", "send", "--dir", dir, "after the input's end"); r.code != 0 {
		t.Errorf("after the input's end: %+v", r)
	}
	start := time.Now()
	if r := stop(); r.code != 0 || time.Since(start) > 5*time.Second {
		t.Errorf("stopped: %+v, after %s", r, time.Since(start))
	}
	if st := folderStatus(t, dir); st.Link.State != "stopped" || st.Lanes[0].Accepted != 4 {
		t.Errorf("at rest: %+v", st)
	}
	if _, err := os.Stat(filepath.Join(dir, "control")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// An interrupted copy exits 75, says how far it came, and keeps what it accepted.
func TestInterruptedCopy(t *testing.T) {
	for _, c := range []struct {
		name, input, stderr string
		close               bool
		accepted            uint64
	}{
		{"while reading", "1\n2\n3\n", "3 lines read, 3 accepted, 0 delivered", false, 3},
		{"while reading, go on", "1\n", "go on with line 2 of the input", false, 1},
		{"while delivering", "1\n2\n", "2 lines read, 2 accepted, 0 delivered", true, 2},
		{"within a line", "1\nhal", "its first 3 bytes were read and are not handed in", false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			in, feed := io.Pipe()
			defer in.Close()
			stop := runDaemon(t, dir, in, "--id", "pump-7")
			io.WriteString(feed, c.input)
			if c.close {
				feed.Close()
			}
			waitFor(t, dir, func(st agent.Status) bool { return st.Lanes[0].Accepted == c.accepted })
			if r := stop(); r.code != daemon.TryLater || !strings.Contains(r.stderr, c.stderr) {
				t.Errorf("%+v", r)
			}
			if st := folderStatus(t, dir); st.Lanes[0].Backlog != c.accepted {
				t.Errorf("at rest: %+v", st)
			}
		})
	}
}

// A line that is too long is named; with --stay the exit code says so at the end.
func TestTooLongLine(t *testing.T) {
	dir := t.TempDir()
	in, feed := io.Pipe()
	defer in.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan result, 1)
	go func() {
		ended <- commandCtx(ctx, in, "run", "--dir", dir, "--id", "p", "--insecure-plaintext", "--collector", nobody, "--stay", "--log-format", "json")
	}()
	io.WriteString(feed, "1\n"+strings.Repeat("x", wire.MaxRecord)+"\n3\n")
	for !running(t.Context(), dir) {
		time.Sleep(5 * time.Millisecond)
	}
	waitFor(t, dir, func(st agent.Status) bool { return st.Lanes[0].Accepted == 2 })
	cancel()
	r := <-ended
	if r.code != daemon.No || !strings.Contains(r.stderr, `"line":2`) || !strings.Contains(r.stderr, "1 of 3 lines were too long") {
		t.Errorf("%+v", r)
	}
}

// A program that embeds the agent has no socket; the folder is just in use.
func TestFolderOfAnEmbedder(t *testing.T) {
	dir := t.TempDir()
	a, err := agent.Open(t.Context(), agent.Config{ID: "e", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if r := command(t, "", "status", "--dir", dir); r.code != daemon.TryLater || !strings.Contains(r.stderr, "embeds the agent") {
		t.Errorf("status: %+v", r)
	}
	if r := command(t, "", "send", "--dir", dir, "--timeout", "200ms", "x"); r.code != daemon.TryLater {
		t.Errorf("send: %+v", r)
	}
}

func TestValidateSaysWhatItRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	os.WriteFile(path, []byte("id: pump-7\ncollectors: [127.0.0.1:4717]\nlanes: {alarms: {segment_size: 1MiB}}\n"), 0o600)
	r := command(t, "", "validate", path)
	if want := path + " is good: agent pump-7; folder fieldpost-agent; collectors 127.0.0.1:4717; lanes default, alarms; 0 routes\n"; r.code != 0 || r.out != want {
		t.Errorf("%+v, want %q", r, want)
	}
}

// The flags are part of the interface: each must be in its command's help.
func TestHelp(t *testing.T) {
	for name, flags := range map[string]string{
		"run":      "--config --id --dir --collector --lane --topic --stay --insecure-plaintext --log-level --log-format",
		"send":     "--config --id --dir --lane --topic --header --timeout",
		"status":   "--config --dir --json",
		"validate": "--config",
		"enroll":   "--config --id --dir --collector --token --token-file",
	} {
		r := command(t, "", name, "--help")
		if r.code != 0 || !strings.Contains(r.out, "Examples:") {
			t.Errorf("%s --help: %+v", name, r)
		}
		for _, f := range strings.Fields(flags) {
			if !strings.Contains(r.out, f+" ") {
				t.Errorf("%s --help lacks %s", name, f)
			}
		}
	}
	for _, args := range []string{"", "--help", "completion bash", "completion powershell", "version", "help send"} {
		if r := command(t, "", strings.Fields(args)...); r.code != 0 || r.out == "" || r.stderr != "" {
			t.Errorf("agent %s: code %d, %q", args, r.code, r.stderr)
		}
	}
}
