//go:build !linux && !windows

package doctor

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// statVolume asks the system about the disk of a folder.
func statVolume(dir string) (volume, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return volume{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	v := volume{free: int64(st.Bavail) * int64(st.Bsize), total: int64(st.Blocks) * int64(st.Bsize), inodes: uint64(st.Ffree), nodes: uint64(st.Files)}
	for _, c := range st.Fstypename {
		if c == 0 {
			break
		}
		v.kind += string(rune(c))
	}
	v.readOnly = uint64(st.Flags)&unix.MNT_RDONLY != 0
	v.network = strings.Contains("nfs smbfs afpfs webdav", v.kind)
	v.volatile = v.kind == "tmpfs"
	return v, nil
}

func fdatasync(f *os.File) error { return f.Sync() }
