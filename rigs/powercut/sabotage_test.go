//go:build fieldpost_sabotage

package powercut

import "testing"

// TestSabotage runs twins of the product without a guarantee on an honest disk.
// Only the child reads the switch: this process began without it.
func TestSabotage(t *testing.T) {
	for _, c := range []struct {
		name, without string
		one           func(Config, uint64) (Result, error)
	}{
		{"agent accepts before it syncs", "nosync", Agent},
		{"collector acks before it stores", "ackfirst", Journal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("FIELDPOST_SABOTAGE", c.without)
			mustBeCaught(t, Config{}, c.one)
		})
	}
}
