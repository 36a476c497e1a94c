//go:build unix

package pki

import (
	"io/fs"
	"os"
	"syscall"
)

// tooOpen reports whether anyone but the owner may do something with a file.
func tooOpen(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// chownLike gives the file at path to whom like belongs, if this process is root
// and they differ: an operator who works as root must not take files away from
// the daemon.
func chownLike(path, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 && st.Gid == 0 {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}
