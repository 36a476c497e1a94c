package main

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
)

// roles are what this program is as a child: the services that its parent calls
// over its stdin and stdout.
var roles = map[string]func() any{
	"lane":      func() any { return new(Lane) },
	"agent":     func() any { return new(Agent) },
	"collector": func() any { return new(Collector) },
	"shelf":     func() any { return new(Shelf) },
	"fleet":     func() any { return new(Fleet) },
}

// Nothing is the argument or the result of calls that need none.
type Nothing struct{}

// child is a process that plays a role.
type child struct {
	cmd    *exec.Cmd
	client *rpc.Client
}

type pipes struct {
	io.Reader
	io.WriteCloser
}

// start starts a child. The caller ends it with stop or kill.
func start(role string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("child %s: %w", role, err)
	}
	return &child{cmd, rpc.NewClient(pipes{out, in})}, nil
}

// roleEnv names the variable that makes a process a child.
const roleEnv = "FIELDPOST_BENCH_ROLE"

// serve plays a role until the parent is gone.
func serve(role string) error {
	make, ok := roles[role]
	if !ok {
		return fmt.Errorf("there is no role %q", role)
	}
	s := rpc.NewServer()
	if err := s.RegisterName("Child", make()); err != nil {
		return err
	}
	s.ServeConn(pipes{os.Stdin, os.Stdout})
	return nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// call calls a method of a child's role.
func call[T any](c *child, method string, args any) (reply T, err error) {
	if err = c.client.Call("Child."+method, args, &reply); err != nil {
		err = fmt.Errorf("%s: %w", method, err)
	}
	return reply, err
}

// kill ends a child as a power cut would, and waits for its end.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.client.Close()
	c.cmd.Wait() // says only that it was killed
}

// stop lets a child close what it has open, and waits for its end.
func (c *child) stop() error {
	_, err := call[Nothing](c, "Close", Nothing{})
	c.client.Close()
	return errors.Join(err, c.cmd.Wait())
}
