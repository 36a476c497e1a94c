// Package durable has the few steps that make a change of a folder survive a
// power cut: a file's content is synced before its name is, and a name is synced
// by syncing its folder (Pillai et al., "All File Systems Are Not Created Equal",
// OSDI 2014).
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path with data, atomically: after a crash at
// any instant it holds the old content or the new one, and after WriteFile has
// returned nil the new one. A folder fsync that fails leaves that open.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return WriteWith(path, mode, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// WriteWith is WriteFile for content that write writes to a file which has no name
// that anybody looks for. If write returns an error, that is returned, and nothing
// is left.
func WriteWith(path string, mode fs.FileMode, write func(f *os.File) error) (err error) {
	if err := Ahead(Create, path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name()) // best effort
		}
	}()
	if err = Ahead(Write, path); err == nil {
		err = write(f)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = SyncFile(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = RenameFile(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes dir and its missing parents, and syncs the folder that holds
// each of them. It syncs also the one that holds a folder that is there already:
// the process that made it may have died before it could. Where it may not even
// open that one, it leaves the name to whoever made it.
func MkdirAll(dir string, mode fs.FileMode) error { return mkdirAll(dir, mode, SyncDir) }

func mkdirAll(dir string, mode fs.FileMode, syncDir func(string) error) error {
	parent := filepath.Dir(dir)
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("exists and is not a folder")}
		}
		if err := syncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if parent != dir {
		if err := mkdirAll(parent, mode, syncDir); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}
