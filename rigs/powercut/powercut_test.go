package powercut

import (
	"flag"
	"os"
	"sync"
	"sync/atomic"
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
// more says that it is enough.
func histories(t *testing.T, n int, one func(seed uint64) (Result, error), more func(*Result) bool) (total Counts) {
	t.Helper()
	start := time.Now()
	next := *baseSeed
	t.Logf("seeds from %d on; replay one with -seed SEED -cuts 1 -ext4 1", next)
	var mu sync.Mutex
	var enough atomic.Bool
	var wg sync.WaitGroup
	for range *workers {
		wg.Go(func() {
			for !enough.Load() {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				r, err := one(seed)
				mu.Lock()
				total.Add(&r.Counts)
				if *show {
					t.Log(&r)
				}
				switch {
				case err != nil:
					t.Errorf("seed %d: the rig itself failed: %v\n%s", seed, err, &r)
					enough.Store(true)
				case !more(&r) || total.Cuts >= n:
					enough.Store(true)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%s\n%.0f cuts a minute", &total, float64(total.Cuts)/time.Since(start).Minutes())
	return total
}

// mustHold is for histories in which nothing may go wrong.
func mustHold(t *testing.T) func(*Result) bool {
	return func(r *Result) bool {
		if !r.OK() {
			t.Error(r)
		}
		return r.OK()
	}
}

func TestAgentPowerCuts(t *testing.T) {
	cfg := Config{Site: folder(t, Plain), Keep: *keep}
	histories(t, *cuts/2, func(seed uint64) (Result, error) { return Agent(cfg, seed) }, mustHold(t))
}

func TestJournalPowerCuts(t *testing.T) {
	cfg := Config{Site: folder(t, Plain), Keep: *keep}
	histories(t, *cuts-*cuts/2, func(seed uint64) (Result, error) { return Journal(cfg, seed) }, mustHold(t))
}

// Ext4: the disk is lossy, the file system is the kernel's.
func TestExt4PowerCuts(t *testing.T) {
	cfg := Config{Site: folder(t, Ext4), Medium: Ext4, Keep: *keep}
	histories(t, *ext4Cuts, func(seed uint64) (Result, error) {
		if seed%2 == 0 {
			return Agent(cfg, seed)
		}
		return Journal(cfg, seed)
	}, mustHold(t))
}
