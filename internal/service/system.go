package service

import "io"

// What the state of a service may be.
const (
	running      = "running"
	stopped      = "stopped"
	failed       = "failed"
	notInstalled = "not installed"
)

// system is the machine's service system, for one daemon.
type system interface {
	Platform() string
	// register is the step that makes the service known; it does not start it. What
	// is to be said as it is done goes to w.
	register(w io.Writer) step
	// packaged reports whether the service is a package's, which alone takes it away.
	packaged() bool
	// unregister takes away a service that does not run.
	unregister() error
	installed() (bool, error)
	state() string
	// start and stop return when the service has started, has stopped.
	start() error
	stop() error
	restart() error
	// hint says where to look for why a service does not start; it may be empty.
	hint() string
}
