package failedio

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/fieldpost/fieldpost/rigs/powercut/machine"
)

// patience is for whatever must come to an end.
const patience = 45 * time.Second

// process is a child as its parent has it.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stderr  tail
	answers chan *answer // closed when it says no more
	said    error        // what was wrong with what it said, once answers is closed
	broken  bool         // it has died or hung; nothing is asked of it any more
}

// start starts a child; heard takes what it says of messages.
func start(b *birth, heard func(*saying) error) (*process, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self), answers: make(chan *answer, 1)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text), "GOTRACEBACK=all")
	p.cmd.Stderr, p.cmd.SysProcAttr = &p.stderr, machine.Namespace()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // end joins it
		defer close(p.answers)
		p.said = p.listen(stdout, heard)
	}()
	return p, nil
}

// listen takes what the child says until it has gone.
func (p *process) listen(out io.Reader, heard func(*saying) error) error {
	for in := json.NewDecoder(bufio.NewReader(out)); ; {
		var l line
		switch err := in.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			io.Copy(io.Discard, out)
			return fmt.Errorf("the child says what is not a line: %w", err)
		case l.Answer != nil:
			p.answers <- l.Answer
		case l.Said != nil:
			if err := heard(l.Said); err != nil {
				io.Copy(io.Discard, out)
				return fmt.Errorf("the child says %w", err)
			}
		}
	}
}

// ask gives an order and waits for its answer. The error says that the child has
// died, or that it hangs: then it is made to show its goroutines, and killed.
func (p *process) ask(o order) (*answer, error) {
	if p.broken {
		return nil, errors.New("it was broken before")
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if _, err = p.stdin.Write(append(b, '\n')); err == nil {
		select {
		case a, ok := <-p.answers:
			if ok {
				return a, nil
			}
			err = errors.New("it ended")
		case <-time.After(patience):
			err = fmt.Errorf("it has not answered within %s", patience)
			p.cmd.Process.Signal(syscall.SIGQUIT)
			p.drop(5 * time.Second)
		}
	}
	p.broken = true
	return nil, fmt.Errorf("process died or hangs: asked to %s, %w", o.Do, err)
}

// drop waits until the child has gone.
func (p *process) drop(limit time.Duration) {
	late := time.AfterFunc(limit, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	for range p.answers {
	}
}

// end kills the child, or lets it go of its own if it is well.
func (p *process) end(kill bool) error {
	if kill || p.broken {
		p.cmd.Process.Kill() // it is not waited for yet
	}
	p.stdin.Close()
	p.drop(patience)
	err := p.cmd.Wait()
	if kill || p.broken {
		err = nil
	}
	return errors.Join(err, p.said)
}

// tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 48 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
