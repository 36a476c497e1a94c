//go:build fieldpost_sabotage

package failedio

import (
	"slices"
	"testing"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// mostLives is in how many lives a control must be caught.
const mostLives = 60

// TestSabotage runs a twin of the product that takes a sync that fails for one
// that succeeds. Only the children read the switch: this process began without it.
func TestSabotage(t *testing.T) {
	site := site(t)
	list := dry(t, site).Plans(0)
	t.Setenv("FIELDPOST_SABOTAGE", "deafsync")
	for _, s := range []Side{Agent, Collector} {
		t.Run(s.String(), func(t *testing.T) {
			// While it stores what only the journal of the collector, or only the queue
			// of the agent has, when the power is cut.
			phase := StoringAgain
			if s == Collector {
				phase = Draining
			}
			mine := slices.DeleteFunc(slices.Clone(list), func(p Plan) bool {
				return p.Side != s || p.Kind != lossy.OpSync || p.Phase != phase || p.Lasting
			})
			if len(mine) == 0 {
				t.Fatalf("no sync of the %s while %s", s, phase)
			}
			for n := range mostLives {
				plan := mine[n%len(mine)]
				r, err := Run(site, &plan, *baseSeed+uint64(n))
				if err != nil {
					t.Fatalf("%s: the rig itself failed: %v", plan, err)
				}
				if !r.OK() {
					t.Logf("caught in life %d, %s: %.300s", n+1, plan, r.Wrong[0])
					return
				}
			}
			t.Errorf("not caught in %d lives", mostLives)
		})
	}
}
