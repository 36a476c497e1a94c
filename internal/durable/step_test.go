package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestEveryStepOfWriteFileIsTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var steps []Step
	end := Watch(dir, func(s Step, path string) error { steps = append(steps, s); return nil })
	if err := WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	end()
	if err := RemoveFile(path); err != nil {
		t.Fatal(err)
	}
	if want := []Step{Create, Write, Sync, Rename, DirSync}; !slices.Equal(steps, want) {
		t.Fatalf("steps %v, want %v", steps, want)
	}
}

func TestAStepThatIsToFailIsNotDone(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	no := errors.New("no")
	for _, fail := range []Step{Create, Write, Sync, Rename} {
		end := Watch(dir, func(s Step, path string) error {
			if s == fail {
				return no
			}
			return nil
		})
		path := filepath.Join(dir, "file")
		if err := WriteFile(path, []byte("x"), 0o600); !errors.Is(err, no) {
			t.Errorf("%s: error %v", fail, err)
		}
		if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
			t.Errorf("%s: folder holds %v, %v", fail, names, err)
		}
		if err := WriteFile(filepath.Join(other, "file"), nil, 0o600); err != nil {
			t.Errorf("%s: another folder: %v", fail, err)
		}
		end()
	}
	end := Watch(dir, func(Step, string) error { return no })
	if err := RemoveFile(filepath.Join(dir, "none")); !errors.Is(err, no) {
		t.Errorf("remove: %v", err)
	}
	end()
	if err := Ahead(Sync, filepath.Join(dir, "file")); err != nil {
		t.Errorf("after the end: %v", err)
	}
}
