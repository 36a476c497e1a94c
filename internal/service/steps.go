package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// step is one thing that installing or uninstalling does.
type step struct {
	what string               // "make the folder /etc/fieldpost"
	done func() (bool, error) // whether nothing is left to be done; nil: never
	do   func() error
}

// run does the steps, or with dry only prints what it would do.
func run(w io.Writer, dry bool, steps []step) error {
	for _, s := range steps {
		done := false
		if s.done != nil {
			var err error
			if done, err = s.done(); err != nil {
				return fmt.Errorf("%s: %w", s.what, err)
			}
		}
		switch {
		case done:
			fmt.Fprintf(w, "  done already: %s\n", s.what)
			continue
		case dry:
			fmt.Fprintf(w, "  would %s\n", s.what)
			continue
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		fmt.Fprintf(w, "  %s\n", s.what)
	}
	return nil
}

// folder is the step that makes a folder with an owner.
func folder(path string, mode fs.FileMode, own owner) step {
	return step{
		what: fmt.Sprintf("make the folder %s, %s", path, own.rights(mode)),
		done: func() (bool, error) {
			info, err := os.Lstat(path)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			if !info.IsDir() {
				return false, fmt.Errorf("it is there and no folder (%s); move it away", info.Mode().Type())
			}
			return own.has(path, info, mode)
		},
		do: func() error { return own.mkdir(path, mode) },
	}
}

// file is the step that writes a file with a content. One that is there with
// another content stays if keep is set.
func file(path string, content []byte, mode fs.FileMode, keep bool, own owner) step {
	return step{
		what: fmt.Sprintf("write %s", path),
		done: func() (bool, error) {
			have, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil
			}
			return err == nil && (keep || bytes.Equal(have, content)), err
		},
		do: func() error {
			temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
			if err != nil {
				return err
			}
			defer os.Remove(temp.Name())
			_, err = temp.Write(content)
			err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
			if err == nil {
				err = own.give(temp.Name())
			}
			if err == nil {
				err = os.Rename(temp.Name(), path)
			}
			return err
		},
	}
}

// remove is the step that removes a file or a folder with all in it.
func remove(path string) step {
	return step{
		what: "remove " + path,
		done: func() (bool, error) {
			_, err := os.Lstat(path)
			if errors.Is(err, fs.ErrNotExist) {
				return true, nil
			}
			return false, err
		},
		do: func() error { return os.RemoveAll(path) },
	}
}
