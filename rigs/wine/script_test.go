package wine

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestInstallScript parses install.ps1. No PowerShell can be had here, so that is all
// that is known of it; what it does is done by the program, and by TestServices.
func TestInstallScript(t *testing.T) {
	needs(t, "node", "npm")
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("script")))
	install := exec.Command("npm", "install", "--silent", "--no-package-lock", "--ignore-scripts")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("get the parser: %v\n%s", err, out)
	}
	parse := func(path string) (string, error) {
		out, err := exec.Command("node", filepath.Join(dir, "parse.js"), path).CombinedOutput()
		return string(out), err
	}
	if out, err := parse("../../install/install.ps1"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	bad := filepath.Join(dir, "bad.ps1")
	must(t, os.WriteFile(bad, []byte("if ($x { }\n"), 0o600))
	if out, err := parse(bad); err == nil {
		t.Errorf("the parser takes what is wrong: %s", out)
	}
}
