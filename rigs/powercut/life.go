package powercut

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
	"github.com/fieldpost/fieldpost/rigs/powercut/machine"
)

// ending is how a life of a child ends.
type ending int

const (
	byCut    ending = iota // the power goes
	byKill                 // SIGKILL; the disk and its cache go on
	byStop                 // in order; then the power goes
	byItself               // when it is done
)

// String returns the ending in words.
func (e ending) String() string {
	return [...]string{"power cut", "kill", "stop and power cut", "end"}[e]
}

const (
	lifeLimit = 5 * time.Second // a life whose trap has not sprung by then ends all the same
	patience  = time.Minute     // for what must come to an end
)

// life is one life of a child.
type life struct {
	site   string // the rig's folder
	at     string // the history's folder in it
	medium Medium
	disk   *lossy.Disk
	orders orders
	ending ending
	trap   lossy.Trap                 // where; byItself has none
	now    <-chan struct{}            // instead of the trap: the life ends when it is closed
	gasp   time.Duration              // how long the child may go on with a dead disk
	line   func(words []string) error // takes each line that the child says
}

// death is how a life ended.
type death struct {
	early  bool   // before the trap sprung, and not as ordered
	killed bool   // by the rig
	exit   error  // of the process
	failed string // why the child says that it failed, "" if it does not
	stderr string // the last of it
}

// live runs a child until its life has ended, and with it the power, if it is to
// go. An error is the rig's own.
func (l *life) live() (d death, err error) {
	m, err := l.medium.mount(l.at, l.disk)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, m.unmount()) }()
	cmd, stderr, err := l.command(under(m.dir))
	if err != nil {
		return d, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return d, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return d, err
	}
	sprung := make(chan struct{})
	trap := l.trap
	started := make(chan struct{})
	if l.ending != byCut {
		trap.Spring = func() { // once: an event has its number once
			<-started
			close(sprung)
			if l.ending == byKill {
				cmd.Process.Kill() // while it waits for the answer to the event
			}
		}
	}
	l.disk.Arm(trap)
	err = cmd.Start()
	close(started)
	if err != nil {
		return d, err
	}
	gone := make(chan struct{})
	var lineErr error
	go func() { // joined below
		defer close(gone)
		d.failed, lineErr = l.listen(stdout)
	}()
	complaint := l.end(&d, cmd.Process, stdin, sprung, gone)
	<-gone
	stdin.Close()
	d.exit, d.stderr = cmd.Wait(), stderr.String()
	if complaint != "" {
		d.failed = complaint
	}
	if l.ending == byCut || l.ending == byStop {
		l.disk.Cut()
	}
	return d, lineErr
}

// command returns the child, not started.
func (l *life) command(dir string) (*exec.Cmd, *tail, error) {
	o := l.orders
	o.Site, o.Mounts, o.Dir, o.BootID = l.site, l.at, dir, filepath.Join(l.at, "boot_id")
	text, err := json.Marshal(o)
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	stderr := new(tail)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr, cmd.SysProcAttr = stderr, machine.Namespace()
	return cmd, stderr, nil
}

// end brings the child to its end; gone is closed when it has said its last word.
// The result is what is wrong with its end.
func (l *life) end(d *death, child *os.Process, stdin io.Closer, sprung, gone <-chan struct{}) string {
	limit := lifeLimit
	if l.ending == byItself || l.now != nil {
		limit = patience
	}
	select {
	case <-gone:
		d.early = l.ending != byItself && !closed(sprung) && !closed(l.now) && !closed(l.disk.Done())
		return ""
	case <-l.disk.Done():
	case <-sprung:
	case <-l.now:
	case <-time.After(limit):
	}
	grace := l.gasp
	switch l.ending {
	case byCut:
		l.disk.Cut()
	case byKill:
		grace = 0
	case byStop:
		stdin.Close()
		grace = patience
	case byItself:
		grace = 0
	}
	select {
	case <-gone:
		return ""
	case <-time.After(grace):
		d.killed = true
		child.Kill() // it is not waited for yet
	}
	if l.ending == byStop || l.ending == byItself {
		return fmt.Sprintf("it has not ended within %s", patience)
	}
	return ""
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// listen takes the child's lines until it has gone, and returns why it failed.
func (l *life) listen(out io.Reader) (failed string, err error) {
	s := bufio.NewScanner(out)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		words := strings.Fields(s.Text())
		switch {
		case len(words) == 0:
		case words[0] == "failed":
			failed = strings.Join(words[1:], " ")
		case err == nil:
			if err = l.line(words); err != nil {
				err = fmt.Errorf("the child says %.100q: %w", s.Text(), err)
			}
		}
	}
	return failed, errors.Join(err, s.Err())
}

// tail keeps the last of what is written to it.
type tail struct{ b []byte }

const tailSize = 16 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

// String returns what is kept.
func (t *tail) String() string { return string(t.b) }
