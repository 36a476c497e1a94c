package powercut

import (
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	cuts     = flag.Int("cuts", 200, "power cuts on the lossy file system, half under an agent, half under a journal")
	ext4Cuts = flag.Int("ext4", 100, "power cuts under ext4")
	baseSeed = flag.Uint64("seed", uint64(time.Now().UnixNano()/1e3), "seed of the first history; the next ones count up")
	workers  = flag.Int("workers", 2, "histories that run at a time")
	show     = flag.Bool("show", false, "log every history")
	keep     = flag.String("keep", "", "folder for the disks of histories that go wrong")
)

func TestMain(m *testing.M) {
	Child()
	goleak.VerifyTestMain(m)
}

// folder returns a folder for a test's mounts, or skips the test where the machine
// cannot mount anything. In CI it must.
func folder(t *testing.T, m Medium) string {
	t.Helper()
	if lacks := m.Missing(); lacks != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must cut the power, and this machine lacks %s", lacks)
		}
		t.Skipf("this machine lacks %s", lacks)
	}
	return t.TempDir()
}

// histories runs histories, several at a time, until there were n power cuts or
// one went wrong.
func histories(t *testing.T, n int, one func(seed uint64) (Result, error)) {
	t.Helper()
	start, next := time.Now(), *baseSeed
	t.Logf("seeds from %d on; replay one with -run '^%s$' -seed SEED -cuts 1 -ext4 1 -workers 1", next, t.Name())
	var total Counts
	var enough bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range *workers {
		wg.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for !enough {
				seed := next
				next++
				mu.Unlock()
				r, err := one(seed)
				mu.Lock()
				before := total.Cuts
				total.Add(&r.Counts)
				if total.Cuts/1000 > before/1000 {
					t.Logf("%d power cuts after %s", total.Cuts, time.Since(start).Round(time.Second))
				}
				if *show {
					t.Log(&r)
				}
				if err != nil {
					t.Errorf("seed %d: the rig itself failed: %v", seed, err)
				}
				if !r.OK() || err != nil {
					t.Error(&r)
				}
				enough = enough || !r.OK() || err != nil || total.Cuts >= n
			}
		})
	}
	wg.Wait()
	t.Logf("%s\n%.0f cuts a minute", &total, float64(total.Cuts)/time.Since(start).Minutes())
}

func TestAgentPowerCuts(t *testing.T) {
	cfg := Config{Site: folder(t, Plain), Keep: *keep}
	histories(t, *cuts/2, func(seed uint64) (Result, error) { return Agent(cfg, seed) })
}

func TestJournalPowerCuts(t *testing.T) {
	cfg := Config{Site: folder(t, Plain), Keep: *keep}
	histories(t, *cuts-*cuts/2, func(seed uint64) (Result, error) { return Journal(cfg, seed) })
}

// Ext4: the disk is lossy, the file system is the kernel's.
func TestExt4PowerCuts(t *testing.T) {
	cfg := Config{Site: folder(t, Ext4), Medium: Ext4, Keep: *keep}
	histories(t, *ext4Cuts, func(seed uint64) (Result, error) {
		if seed%2 == 0 {
			return Agent(cfg, seed)
		}
		return Journal(cfg, seed)
	})
}
