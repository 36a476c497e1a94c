package enroll

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestBearer: the first token lies in a file until it is taken, once; of all tokens
// only hashes are kept then, and each new one ends the one before.
func TestBearer(t *testing.T) {
	dir := t.TempDir()
	b := OpenBearer(dir)
	if b.Allows("") {
		t.Error("without a token everybody is let in")
	}
	for n := range 2 {
		if made, err := FirstBearer(t.Context(), dir); err != nil || made != (n == 0) {
			t.Fatalf("start %d: made %v, %v", n, made, err)
		}
	}
	untaken := filepath.Join(dir, folderName, untakenFile)
	if info, err := os.Stat(untaken); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	before := ""
	for n := range 3 {
		text, err := TakeBearer(t.Context(), dir)
		if err != nil || text == before {
			t.Fatalf("taken: %q, %v", text, err)
		}
		b = OpenBearer(dir)
		if !b.Allows(text) || b.Allows(text+"x") || b.Allows("") || before != "" && b.Allows(before) {
			t.Errorf("%d: the token is not told from others", n)
		}
		list, err := os.ReadDir(filepath.Join(dir, folderName))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if kept, _ := os.ReadFile(filepath.Join(dir, folderName, f.Name())); strings.Contains(string(kept), text) {
				t.Errorf("it is kept in %s", f.Name())
			}
		}
		before = text
	}
	if made, err := FirstBearer(t.Context(), dir); made || err != nil {
		t.Errorf("a later start makes one: %v", err)
	}
}

// TestBearerHalfMade: a crash between the token's file and its hash.
func TestBearerHalfMade(t *testing.T) {
	dir := t.TempDir()
	if _, err := FirstBearer(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, folderName, bearerFile)); err != nil {
		t.Fatal(err)
	}
	if made, err := FirstBearer(t.Context(), dir); !made || err != nil {
		t.Errorf("made %v, %v", made, err)
	}
	if text, err := TakeBearer(t.Context(), dir); err != nil || !OpenBearer(dir).Allows(text) {
		t.Errorf("taken %v", err)
	}
}
