package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func TestWriteFileReplacesWholeAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "file")
	if err := MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a longer first content", "short"} {
		if err := WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Fatalf("have %q, %v; want %q", got, err, want)
		}
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 1 {
		t.Fatalf("folder holds %v, %v; want the file alone", names, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" { // where a mode says next to nothing
		t.Fatalf("mode %o", info.Mode().Perm())
	}
}

func TestWriteFileThatFailsKeepsTheOldContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.Mkdir(path, 0o700); err != nil { // rename of a file onto a folder fails
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Fatal("no error")
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Fatalf("a temporary file stayed: %v", names)
	}
}

func TestMkdirAllRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(path, 0o700); err == nil {
		t.Fatal("no error")
	}
}

// A process that made a folder may have died before it synced the name: the next
// one must not take the name for durable.
func TestMkdirAllSyncsEveryNameThatMayBeNew(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b")
	var synced []string
	note := func(dir string) error { synced = append(synced, dir); return nil }
	for _, want := range [][]string{
		{filepath.Dir(root), root, filepath.Join(root, "a")}, // both are new
		{filepath.Join(root, "a")},                           // both are there
	} {
		synced = nil
		if err := mkdirAll(dir, 0o700, note); err != nil || !slices.Equal(synced, want) {
			t.Fatalf("synced %q, %v; want %q", synced, err, want)
		}
	}
	for cause, ok := range map[error]bool{fs.ErrPermission: true, errors.New("broken"): false} {
		err := mkdirAll(dir, 0o700, func(string) error { return cause })
		if (err == nil) != ok {
			t.Errorf("a folder that is there, below one that answers %q: %v", cause, err)
		}
	}
	if err := mkdirAll(filepath.Join(dir, "new"), 0o700, func(string) error { return fs.ErrPermission }); err == nil {
		t.Error("a new folder's name was not synced, and nobody was told")
	}
}
