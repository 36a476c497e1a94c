package powercut

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// loop is a block device that is a file.
type loop struct {
	path string
	fd   int
}

// attach makes a file a block device. The file may be on a file system that this
// process serves, so it is opened without package os, whose poller would ask that
// file system something while it keeps it from answering.
func attach(path string) (*loop, error) {
	file, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(file)
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/loop-control: %w", err)
	}
	defer unix.Close(control)
	for {
		n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		l := &loop{path: fmt.Sprintf("/dev/loop%d", n)}
		if l.fd, err = openNode(l.path); err != nil {
			return nil, fmt.Errorf("open %s: %w", l.path, err)
		}
		err = unix.IoctlLoopConfigure(l.fd, &unix.LoopConfig{Fd: uint32(file), Size: 512})
		if err == nil {
			return l, nil
		}
		unix.Close(l.fd)
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster
			return nil, fmt.Errorf("make %s a block device: %w", path, err)
		}
	}
}

// openNode opens a device whose node may appear a little later than it is
// promised.
func openNode(path string) (fd int, err error) {
	for range 200 {
		if fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0); !errors.Is(err, unix.ENOENT) {
			return fd, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fd, err
}

// detach lets go of the file.
func (l *loop) detach() error {
	if err := errors.Join(unix.IoctlSetInt(l.fd, unix.LOOP_CLR_FD, 0), unix.Close(l.fd)); err != nil {
		return fmt.Errorf("give %s back: %w", l.path, err)
	}
	return nil
}
