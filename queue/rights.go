package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// advised is an error of the system with what to do about it.
type advised struct {
	error
	next string
}

func (e *advised) Error() string { return e.error.Error() + "; " + e.next }
func (e *advised) Unwrap() error { return e.error }

// advise adds what to do next to an error of the system that somebody must mend
// outside: rights that were taken away, a disk that is read-only. The lane goes on by
// itself once that is done.
func advise(dir string, err error) error {
	var have *advised
	switch {
	case err == nil || errors.As(err, &have):
		return err
	case errors.Is(err, syscall.EROFS):
		return &advised{err, "the disk is mounted read-only, perhaps after an error of it: look into the system's log, then mount -o remount,rw; where that is refused, stop the agent, unmount the disk and let fsck mend it"}
	case errors.Is(err, fs.ErrPermission) && ownModes:
		return &advised{err, fmt.Sprintf("give it to the agent's user: chown -R %d:%d %q && chmod -R u+rwX %q", os.Getuid(), os.Getgid(), dir, dir)}
	case errors.Is(err, fs.ErrPermission):
		return &advised{err, fmt.Sprintf("give the account of the agent full control of %q", dir)}
	}
	return err
}
