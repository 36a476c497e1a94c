package guard

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestReleaseCannotBeSabotaged builds the commands without the tag, as a release
// is, and looks for what only a binary that can be sabotaged has: the name of the
// variable that holds the switches. The same command with the tag has it, so the
// search can find it.
func TestReleaseCannotBeSabotaged(t *testing.T) {
	all := readTree(t, root)
	for _, c := range []string{"cmd/agent", "cmd/collector"} {
		t.Run(filepath.Base(c), func(t *testing.T) {
			if p := all[c]; p == nil || p.tests || all.chains(c)["internal/sabotage"] == "" {
				return // not there, or nothing in it to sabotage
			}
			for _, build := range []struct {
				name string
				args []string
				want bool
			}{
				{"release", nil, false},
				{"sabotage", []string{"-tags", "fieldpost_sabotage"}, true},
			} {
				binary := filepath.Join(t.TempDir(), build.name)
				args := append([]string{"build", "-o", binary}, build.args...)
				goTool(t, []string{"GOFLAGS="}, append(args, "./"+c)...)
				b, err := os.ReadFile(binary)
				if err != nil {
					t.Fatal(err)
				}
				if got := bytes.Contains(b, []byte("FIELDPOST_SABOTAGE")); got != build.want {
					t.Errorf("%s of %s reads FIELDPOST_SABOTAGE: %t, want %t", build.name, c, got, build.want)
				}
			}
		})
	}
}
