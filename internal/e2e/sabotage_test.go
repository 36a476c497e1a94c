//go:build unix

package e2e

import (
	"bytes"
	"os/exec"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/oracle"
)

// TestSabotagedTwins plays the scenarios that prove a guarantee with binaries
// that lack it. Each must be seen to fail, in the way that belongs to it.
func TestSabotagedTwins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		play   func(s *site)
		faults func(v *oracle.Verdict) int
	}{
		{"nosync", func(s *site) { killAgent(s, 10) }, func(v *oracle.Verdict) int { return v.Missing }},
		{"ackfirst", func(s *site) { killCollector(s, 20) }, func(v *oracle.Verdict) int { return v.Missing }},
		{"nodedupe", resend, func(v *oracle.Verdict) int { return v.Doubled }},
		{"nofork", restoreAgent, func(v *oracle.Verdict) int { return v.Missing }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// A kill has to fall into the moment that the guarantee covers: one try may
			// miss it.
			var v oracle.Verdict
			for range 6 {
				s := newSite(t, c.name)
				s.patience = 5 * time.Second
				c.play(s)
				v = s.judge()
				s.stop()
				if c.faults(&v) > 0 {
					t.Logf("seen to fail: %v", v.Tally)
					return
				}
			}
			t.Errorf("without its guarantee the scenario still passes: %v", v.Tally)
		})
	}
}

// TestSabotagedSchedules lets package sim play its schedules without a guarantee.
// All of these are caught within the first few dozens; a sync that fails and is
// not heeded, deafsync, takes hundreds.
func TestSabotagedSchedules(t *testing.T) {
	t.Parallel()
	bin := t.TempDir() + "/sim.test"
	if out, err := exec.Command("go", "test", "-c", "-tags", "fieldpost_sabotage", "-o", bin, "../sim").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"nosync", "ackfirst", "nofork"} {
		t.Run(name, func(t *testing.T) {
			out, code, err := output([]string{"FIELDPOST_SABOTAGE=" + name}, bin, "-test.run", "TestSchedules", "-schedules", "400")
			if code == 0 || !bytes.Contains(out, []byte("play it again with")) {
				t.Errorf("without its guarantee the schedules still pass: %v\n%s", err, out)
			}
		})
	}
}
