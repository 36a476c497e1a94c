package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// A folder that a later version has written is refused by whatever opens or reads it,
// and nothing in it is touched, though its lanes say whose it is.
func TestALaterFormatIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Config{ID: "a", Dir: dir})
	if err := a.Send(t.Context(), Message{Body: []byte("kept")}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	write(t, dir, fmt.Sprintf(`{"format":%d,"agent":"a"}`, FolderFormat+1))
	before := tree(t, dir)
	calls := map[string]func() error{
		"Open": func() error {
			a, err := Open(t.Context(), Config{ID: "a", Dir: dir})
			if err == nil {
				a.Close()
			}
			return err
		},
		"ReadStatus": func() error { _, err := ReadStatus(dir); return err },
		"claim":      func() error { _, err := claim(dir, "a", slog.New(slog.DiscardHandler)); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, ErrNewer) || errors.Is(err, ErrNotAQueue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := tree(t, dir); !maps.Equal(before, after) {
		t.Errorf("the folder was\n%q\nand is\n%q", before, after)
	}
	write(t, dir, fmt.Sprintf(`{"format":%d,"agent":"a"}`, FolderFormat))
	if st := open(t, Config{ID: "a", Dir: dir}).Status(); st.Lanes[0].Backlog != 1 {
		t.Errorf("back with the version that reads it: %+v", st.Lanes[0])
	}
}

func write(t *testing.T, dir, identity string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte(identity), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tree returns the files of a folder with what they hold.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
