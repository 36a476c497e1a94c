package table

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.md")
	if err := os.WriteFile(path, []byte("x\n<!-- begin t: made -->\nold\n<!-- end t -->\ny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Hold(path, "t", "old"); err != nil {
		t.Error(err)
	}
	if err := Hold(path, "t", "new\n"); err == nil || !strings.Contains(err.Error(), "-tables") {
		t.Error(err)
	}
	if err := Hold(path, "other", ""); err == nil {
		t.Error("there are no such marks")
	}
	*update = true
	defer func() { *update = false }()
	if err := Hold(path, "t", Row("a|b", "c")); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "x\n<!-- begin t: made -->\n| a\\|b | c |\n<!-- end t -->\ny\n" {
		t.Errorf("%s", b)
	}
}
