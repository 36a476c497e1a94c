package wine

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// console is a program that runs beside the test.
type console struct {
	m     *machine
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   string // path of what it says
	words []string
}

// console starts a program with a standard input that stays open.
func (m *machine) console(program string, args ...string) *console {
	m.t.Helper()
	c := &console{m: m, cmd: m.command(context.Background(), program, args...), words: append([]string{program}, args...)}
	out, err := os.CreateTemp(m.t.TempDir(), "console")
	must(m.t, err)
	defer out.Close()
	c.log = out.Name()
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.stdin, err = c.cmd.StdinPipe()
	must(m.t, err)
	must(m.t, c.cmd.Start())
	m.t.Cleanup(c.stop)
	return c
}

// stop kills the program, and returns when it has ended.
func (c *console) stop() {
	if c.cmd == nil {
		return
	}
	c.cmd.Process.Kill() // wine's loader becomes the program
	c.cmd.Wait()
	c.stdin.Close()
	c.cmd = nil
	if c.m.t.Failed() {
		text, _ := os.ReadFile(c.log)
		c.m.t.Logf("%s said:\n%.3000s", filepath.Base(c.words[0]), text)
	}
}
