//go:build unix

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a running binary. Its output is kept.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  *buffer // stderr
	ended chan struct{}
	err   error // good after ended
}

// buffer is a bytes.Buffer for one writer and any readers.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// tail returns the last bytes, for a message.
func (b *buffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.b.Bytes()
	return string(all[max(0, len(all)-4000):])
}

// all returns everything.
func (b *buffer) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// launch starts a binary that reads stdin, or a pipe that stays open if stdin is
// nil. The test's end kills it.
func launch(t *testing.T, env []string, stdin io.Reader, name, bin string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(bin, args...), said: &buffer{}, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.said
	var err error
	if stdin != nil {
		p.cmd.Stdin = stdin
	} else if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill sends SIGKILL and returns when the process is gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// exit waits for the process to end and returns its code.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("%s has not ended within %s; it said:\n%s", p.name, within, p.said.tail())
		return 0
	}
}

// output runs a command to its end and returns what it printed and its code.
func output(env []string, bin string, args ...string) (stdout []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, bin, args...)
	c.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	c.Stderr = &said
	stdout, err = c.Output()
	if c.ProcessState == nil || c.ProcessState.ExitCode() < 0 {
		return nil, 0, fmt.Errorf("%s %v: %w: %s", bin, args, err, said.Bytes())
	}
	if code = c.ProcessState.ExitCode(); code != 0 {
		err = fmt.Errorf("%s %v: exit code %d: %s", bin, args, code, said.Bytes())
	}
	return stdout, code, err
}
