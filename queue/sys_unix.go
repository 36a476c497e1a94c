//go:build !windows

package queue

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock takes the exclusive lock of an open file, or returns ErrInUse at once.
// It ends with the file's descriptor.
func lock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrInUse
		case !errors.Is(err, syscall.EINTR):
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// release gives bbolt's lock of a file back. Closing it is not enough: the
// mapping, which stays, holds the open file and the lock with it.
func release(f *os.File) { syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// diskSpace returns how many bytes of the disk that holds dir a user may still
// fill, and how many it has.
func diskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// ownModes: files have an owner and a mode.
const ownModes = true

// ownerOf returns the id of the user to whom a file belongs.
func ownerOf(info os.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// openShared opens a file for reading; others may delete it meanwhile.
func openShared(path string) (*os.File, error) { return os.Open(path) }

// fileID returns the number by which the file system knows an open file.
func fileID(f *os.File) (uint64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino), nil
	}
	return 0, errors.ErrUnsupported
}
