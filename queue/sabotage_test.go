//go:build fieldpost_sabotage

package queue

import (
	"os"
	"os/exec"
	"testing"
)

// TestSabotage sees the tests that prove a guarantee fail without it.
func TestSabotage(t *testing.T) {
	if os.Getenv("FIELDPOST_SABOTAGE") != "" {
		t.Skip("this is the sabotaged run")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]string{"nosync": "^TestKill$", "nofork": "^TestRule2"} {
		cmd := exec.Command(exe, "-test.run", test)
		cmd.Env = append(os.Environ(), "FIELDPOST_SABOTAGE="+name)
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("%s passes with %s:\n%s", test, name, out)
		}
	}
}
