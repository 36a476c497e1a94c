//go:build fieldpost_sabotage

package journal

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/sabotage"
)

// TestSabotageNoDedupe: without the comparison with W an entry that comes twice
// is stored twice, and the audit says so. Run with FIELDPOST_SABOTAGE=nodedupe.
func TestSabotageNoDedupe(t *testing.T) {
	if !sabotage.NoDedupe {
		t.Skip("FIELDPOST_SABOTAGE does not say nodedupe")
	}
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	c.next = 4
	_, err := c.connect(j)
	must(t, err)
	for range 2 {
		_, err := j.Append(context.Background(), c.session, []collector.Append{{Stream: c.stream(), Entry: c.entry(1, 3), Time: testTime}})
		must(t, err)
	}
	must(t, j.Close())
	n := 0
	r, err := OpenReader(dir)
	must(t, err)
	_, err = r.Read(context.Background(), "", func(collector.Stored) error { n++; return nil })
	must(t, err)
	if rep := audit(t, dir); n != 2 || rep.OK || !rep.finds(KindDoubled, c, 1, 3) {
		t.Errorf("%d entries stored, want 2: %s", n, rep.String())
	}
}

// TestSabotageInjuriesAreCaught: twins that go on without their memory, or that
// forget what a lost record had settled, do not get past the injuries, and a whole
// one does.
func TestSabotageInjuriesAreCaught(t *testing.T) {
	if sabotage.NoDedupe {
		t.Skip("this is the run for nodedupe")
	}
	for name, caught := range map[string]bool{"amnesia": true, "lowerw": true, "": false} {
		cmd := exec.Command(os.Args[0], "-test.run", "^(TestInjuries|TestRule7DamageNeverLowersW|TestRule7AJournalWithoutItsMemoryDoesNotOpen)$", "-injuries", "60")
		cmd.Env = append(os.Environ(), "FIELDPOST_SABOTAGE="+name)
		out, err := cmd.CombinedOutput()
		if caught != (err != nil) {
			t.Errorf("%q: %v\n%s", name, err, out)
		}
	}
}
