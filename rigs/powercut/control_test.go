package powercut

import (
	"errors"
	"testing"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// mostHistories is in how many histories a control must be caught. Most are
// caught in the first.
const mostHistories = 150

// TestControls gives the product disks that break its assumptions. If the rig does
// not notice, it proves nothing.
func TestControls(t *testing.T) {
	for _, c := range []struct {
		name string
		disk lossy.Options
	}{
		{"flushes of files lie", lossy.Options{Lies: lossy.Lies{Files: true}}},
		{"flushes of folders lie", lossy.Options{Order: lossy.PerFolder, Lies: lossy.Lies{Folders: true}}},
		{"one flush in four lies", lossy.Options{Order: lossy.Loose, Lies: lossy.Lies{OneIn: 4}}},
	} {
		t.Run("agent: "+c.name, func(t *testing.T) { mustBeCaught(t, Config{Disk: &c.disk}, Agent) })
		t.Run("journal: "+c.name, func(t *testing.T) { mustBeCaught(t, Config{Disk: &c.disk}, Journal) })
	}
	lying := &lossy.Options{Lies: lossy.Lies{OneIn: 2}}
	t.Run("agent on ext4: one flush in two lies", func(t *testing.T) { mustBeCaught(t, Config{Disk: lying, Medium: Ext4}, Agent) })
	t.Run("journal on ext4: one flush in two lies", func(t *testing.T) { mustBeCaught(t, Config{Disk: lying, Medium: Ext4}, Journal) })
}

// mustBeCaught runs histories until one goes wrong.
func mustBeCaught(t *testing.T, cfg Config, one func(Config, uint64) (Result, error)) {
	t.Helper()
	cfg.Site = folder(t, cfg.Medium)
	var total Counts
	for n := range uint64(mostHistories) {
		r, err := one(cfg, *baseSeed+n)
		if errors.Is(err, ErrFileSystem) {
			continue // that is caught, but not by us
		}
		if err != nil {
			t.Fatalf("seed %d: the rig itself failed: %v\n%s", r.Seed, err, &r)
		}
		total.Add(&r.Counts)
		if !r.OK() {
			t.Logf("caught after %d power cuts in %d histories, seed %d: %.300s", total.Cuts, n+1, r.Seed, r.Wrong[0])
			return
		}
	}
	t.Errorf("not caught by %d power cuts, seeds from %d on", total.Cuts, *baseSeed)
}
