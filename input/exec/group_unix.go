//go:build unix

package exec

import (
	"os/exec"
	"syscall"
)

// group is a command and what it has started.
type group struct{ id int }

// start starts the command in a process group of its own.
func start(c *exec.Cmd) (*group, error) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &group{c.Process.Pid}, nil
}

// terminate asks all of the group to end.
func (g *group) terminate() { syscall.Kill(-g.id, syscall.SIGTERM) }

// kill ends all of the group.
func (g *group) kill() { syscall.Kill(-g.id, syscall.SIGKILL) }

func (g *group) close() {}
