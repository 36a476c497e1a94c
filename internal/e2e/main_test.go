//go:build unix

package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fieldpost/fieldpost/internal/leak"
)

var (
	rounds = flag.Int("rounds", 30, "how often agent and collector are killed")
	seed   = flag.Uint64("seed", 1, "of the random moments and sizes")
)

// binaries are the two commands.
type binaries struct{ agent, collector string }

// where builds go; TestMain makes and removes it.
var buildDir string

var (
	release   = sync.OnceValues(func() (binaries, error) { return build("release") })
	sabotaged = sync.OnceValues(func() (binaries, error) { return build("sabotaged", "-tags", "fieldpost_sabotage") })
)

func build(name string, args ...string) (binaries, error) {
	dir := filepath.Join(buildDir, name) + string(filepath.Separator)
	args = append([]string{"build", "-o", dir}, append(args, "../../cmd/agent", "../../cmd/collector")...)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return binaries{}, err
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return binaries{}, fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return binaries{dir + "agent", dir + "collector"}, nil
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "fieldpost-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		buildDir = dir
		code := m.Run()
		if err := leak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// get returns built binaries or ends the test.
func get(t *testing.T, f func() (binaries, error)) binaries {
	t.Helper()
	b, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReleaseBinariesCannotBeSabotaged(t *testing.T) {
	t.Parallel()
	mark := []byte("FIELDPOST_" + "SABOTAGE")
	for _, c := range []struct {
		b    binaries
		want bool
	}{{get(t, release), false}, {get(t, sabotaged), true}} {
		for _, path := range []string{c.b.agent, c.b.collector} {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Contains(b, mark); got != c.want {
				t.Errorf("%s knows the switches: %v, want %v", path, got, c.want)
			}
		}
	}
}
