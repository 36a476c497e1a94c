//go:build unix

package tail

import (
	"io/fs"
	"os"
	"syscall"
)

// fileID names a file on this machine for as long as it exists.
type fileID struct{ dev, ino uint64 }

// identify returns the identity of the file at path, which info is of.
func identify(_ string, info fs.FileInfo) (fileID, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, fs.ErrInvalid
	}
	return fileID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// identifyOpen returns the identity of an open file.
func identifyOpen(f *os.File) (fileID, error) {
	info, err := f.Stat()
	if err != nil {
		return fileID{}, err
	}
	return identify("", info)
}

// open opens a file for reading, in a way that lets others rename and delete it. A
// pipe that has taken the file's place does not hold it up.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
