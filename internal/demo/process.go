package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
)

// process is one of the demo's children.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   string

	expected atomic.Bool   // its end is the demo's doing
	ended    chan struct{} // closed after err is set
	err      error
}

// start runs this binary again with args. line is called with each line of its
// output, from one goroutine; ended, once, with its end if nobody asked for it.
// What it logs goes to name.log in dir.
func start(dir, name string, line func(string), died func(error), args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(self, args...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // joined by kill or stop, which every process gets
		for s := bufio.NewScanner(out); s.Scan(); {
			line(s.Text())
		}
		p.err = p.cmd.Wait()
		if !p.expected.Load() {
			died(fmt.Errorf("%s ended by itself (%w); its log is %s", name, cause(p.err), p.log))
		}
		close(p.ended)
	}()
	return p, nil
}

func cause(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// kill ends the process with SIGKILL and returns when it is gone.
func (p *process) kill() {
	p.expected.Store(true)
	p.cmd.Process.Kill() // fails only for a process that has ended
	<-p.ended
}

// stop asks the process to finish, and kills it when ctx ends.
func (p *process) stop(ctx context.Context) error {
	p.expected.Store(true)
	fmt.Fprintln(p.stdin, "stop")
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("%s: %w; its log is %s", p.name, p.err, p.log)
		}
		return nil
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s did not finish: %w; its log is %s", p.name, context.Cause(ctx), p.log)
	}
}

// childContext is a child's side: the first context ends when the parent says
// stop, the second when the parent is gone. An interrupt from the terminal goes
// to the parent, which decides.
func childContext(ctx context.Context, stdin io.Reader) (stop, gone context.Context) {
	signal.Ignore(os.Interrupt)
	gone, leave := context.WithCancelCause(ctx)
	stop, halt := context.WithCancel(gone)
	// This goroutine ends with the pipe, or with the process.
	go func() {
		r := bufio.NewReader(stdin)
		if s, _ := r.ReadString('\n'); s == "stop\n" {
			halt()
			r.ReadByte() // blocks until the parent is gone
		}
		leave(errors.New("the demo is gone"))
	}()
	return stop, gone
}
