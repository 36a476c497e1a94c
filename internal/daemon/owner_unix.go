//go:build !windows

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ActAsOwner gives up root's rights for those of the user who owns a folder, for
// the rest of the process: what a command writes there as root, the service could
// not read. It does nothing for anybody else, for root's own folders, and where
// there is no folder yet.
func ActAsOwner(dir string) error {
	uid, gid, err := otherOwner(dir)
	if err != nil || uid == 0 {
		return err
	}
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("act as the owner of %s, user %d: %w", dir, uid, err)
	}
	return nil
}

// CheckOwner is for a command that also writes elsewhere, and so cannot act as the
// folder's owner: it returns an error where ActAsOwner would have something to do.
func CheckOwner(dir string) error {
	uid, _, err := otherOwner(dir)
	if err != nil || uid == 0 {
		return err
	}
	return fmt.Errorf("%s belongs to user %d, and what root writes there its service could not read: start the service, or run this as that user", dir, uid)
}

// otherOwner returns who owns a folder, if this process is root's and that is not
// root; else 0.
func otherOwner(dir string) (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, nil
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, nil
	}
	return int(s.Uid), int(s.Gid), nil
}
