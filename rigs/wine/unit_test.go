package wine

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUnits runs the unit tests of the packages that have most to do with Windows,
// as programs for Windows.
func TestUnits(t *testing.T) {
	m := boot(t)
	overlay := removable(t)
	for _, pkg := range []string{"internal/control", "internal/doctor", "internal/durable", "internal/glob", "internal/service"} {
		t.Run(pkg, func(t *testing.T) {
			m := &machine{t, m.prefix}
			name := `C:\tests\` + strings.ReplaceAll(pkg, "/", "-") + ".exe"
			c := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", m.unix(name), "./"+pkg)
			c.Dir, c.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			if out, err := m.tryFor(3*time.Minute, name, "-test.v"); err != nil {
				t.Errorf("%v\n%s", err, out)
			} else {
				t.Logf("%d tests pass, %d are skipped", strings.Count(out, "\n--- PASS"), strings.Count(out, "\n--- SKIP"))
			}
		})
	}
}

// removable returns an overlay for Go's build with which a test can remove its
// folders: package os removes files in a way that wine 8 has not implemented, and
// takes another one if Windows says that, but not if wine does.
func removable(t *testing.T) (path string) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	source := filepath.Join(strings.TrimSpace(string(root)), "src/internal/syscall/windows/at_windows.go")
	text, err := os.ReadFile(source)
	must(t, err)
	const known = "case STATUS_INVALID_INFO_CLASS,"
	changed := bytes.Replace(text, []byte(known), []byte("case NTStatus(0xC0000002), STATUS_INVALID_INFO_CLASS,"), 1) // STATUS_NOT_IMPLEMENTED
	if bytes.Equal(text, changed) {
		t.Fatalf("%s has no %q any more: see how this Go removes files", source, known)
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "at_windows.go")
	must(t, os.WriteFile(other, changed, 0o600))
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{source: other}})
	must(t, err)
	path = filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(path, list, 0o600))
	return path
}
