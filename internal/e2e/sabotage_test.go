//go:build unix

package e2e

import (
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
			s := newSite(t, c.name)
			s.patience = 5 * time.Second
			c.play(s)
			v := s.judge()
			if c.faults(&v) == 0 {
				t.Fatalf("without its guarantee the scenario still passes: %v", v.Tally)
			}
			t.Logf("seen to fail: %v", v.Tally)
		})
	}
}
