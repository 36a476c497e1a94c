package pki

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// MaxFile is the most bytes that are read of a file of this package.
const MaxFile = 1 << 20

// MakeFolder makes the folder at path for secrets, or sees that it is one: not a
// symbolic link, and closed to others. Its parent must be there.
func MakeFolder(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := chownLike(path, filepath.Dir(path)); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s: is not a folder of its own (a symbolic link is refused: whoever can change it can put other keys in its place)", path)
	case tooOpen(info):
		return fmt.Errorf("%s: mode %04o lets others look for keys; run: chmod 700 %s", path, info.Mode().Perm(), path)
	}
	return durable.SyncDir(filepath.Dir(path))
}

// WriteSecret replaces the file at path, durably and atomically; only its owner
// may read it. If root writes, the file goes to whom the folder belongs.
func WriteSecret(path string, data []byte) error {
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return chownLike(path, filepath.Dir(path))
}

// RemoveSecret removes the file at path, durably.
func RemoveSecret(path string) error {
	if err := durable.RemoveFile(path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// ReadSecret returns what the file at path holds. A symbolic link is refused, and
// a file that others may read.
func ReadSecret(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is not a file of its own; a symbolic link is refused here", path)
	}
	if tooOpen(info) {
		return nil, fmt.Errorf("%s: mode %04o lets others read what must stay secret; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return readFile(path, info)
}

// readFile reads a file of at most MaxFile bytes; if same is not nil it must be
// that file.
func readFile(path string, same fs.FileInfo) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if same != nil {
		if info, err := f.Stat(); err != nil || !os.SameFile(info, same) {
			return nil, fmt.Errorf("%s: was replaced while it was being opened; try again", path)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxFile:
		return nil, fmt.Errorf("%s: above %d bytes", path, MaxFile)
	}
	return b, nil
}
