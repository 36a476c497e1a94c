//go:build fieldpost_sabotage

package injuries

import (
	"os"
	"os/exec"
	"testing"
)

// TestSabotage sees the injuries caught that a queue without one of its guarantees
// does not get over.
func TestSabotage(t *testing.T) {
	if os.Getenv("FIELDPOST_SABOTAGE") != "" {
		t.Skip("this is the sabotaged run")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nochecksum", "nosalvage", "tombfirst"} {
		cmd := exec.Command(exe, "-test.run", "^TestInjuries$", "-injuries", "60", "-rivals", "0")
		cmd.Env = append(os.Environ(), "FIELDPOST_SABOTAGE="+name)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("the injuries are survived with %s:\n%s", name, out)
		} else {
			t.Logf("%s: %.300s", name, out)
		}
	}
}
