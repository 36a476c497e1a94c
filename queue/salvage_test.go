package queue

import (
	"os"
	"path/filepath"
	"testing"
)

// A copy that could not be made whole does not count as kept: a segment is deleted
// once there is one.
func TestHalfACopyIsNone(t *testing.T) {
	dir := t.TempDir()
	const name = "0000000001-00000000000000000001.seg"
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o700); err != nil { // it can be opened, and neither linked nor read
		t.Fatal(err)
	}
	for range 2 {
		if err := keepCopy(dir, name); err == nil {
			t.Fatal("what cannot be read counts as copied")
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, quarantine))
	if err != nil || len(entries) > 0 {
		t.Fatalf("quarantine holds %v, %v", entries, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := keepCopy(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, quarantine, name)); err != nil || string(b) != "content" {
		t.Fatalf("the copy is %q, %v", b, err)
	}
}
