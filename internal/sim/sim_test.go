package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "play only this schedule and print its events")
	schedules = flag.Int("schedules", defaultSchedules, "how many schedules to play; a third of them with a journal, the others with a store in memory")
	first     = flag.Uint64("first", 1, "the first schedule's seed")
	workers   = flag.Int("workers", 0, "how many processes share them; 0: one for each processor")
	power     = flag.Bool("power", false, "crashes at a step may cut the power as well, which takes what is not synced")
	again     = flag.Int("again", 0, "play the first so many schedules a second time and say how many went the same way")
)

func TestMain(m *testing.M) {
	// The schedules are about what the code does, not about what the disk does: a
	// file system in memory makes them four times as fast.
	if info, err := os.Stat("/dev/shm"); os.Getenv("TMPDIR") == "" && err == nil && info.IsDir() {
		os.Setenv("TMPDIR", "/dev/shm")
	}
	if os.Getenv(workerVariable) != "" {
		go dieWithParent()
	}
	if err := warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leak.Main(m, goleak.IgnoreCurrent())
}

// outcome is what became of one schedule.
type outcome struct {
	Seed   uint64
	Tally  oracle.Tally
	Seen   map[string]int // what happened in it, by what the product showed
	Digest uint64         // of its log, but for random ids
	Failed bool           // its log has been printed
}

// playSeed plays one schedule in a bubble, in a folder below below. Random ids come from the seed as well,
// so that what is left to chance is the order in which goroutines run.
func playSeed(t *testing.T, seed uint64, below string) outcome {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	dir, err := os.MkdirTemp(below, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := outcome{Seed: seed}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed, filepath.Clean(dir))
		if err := w.run(); err != nil {
			o.Failed = true
			t.Errorf("seed %d: %v", seed, err)
		}
		if o.Failed || *oneSeed > 0 {
			t.Logf("play it again with: go test ./internal/sim -run TestSchedules -power=%v -seed %d\n%s", *power, seed, strings.Join(w.events, "\n"))
		}
		o.Tally, o.Seen, o.Digest = w.tally, w.seen, w.digest()
	})
	return o
}

func TestSchedules(t *testing.T) {
	switch {
	case *oneSeed > 0:
		playSeed(t, *oneSeed, t.TempDir())
		return
	case os.Getenv(workerVariable) != "":
		work(t)
		return
	}
	begin := time.Now()
	all := play(t, *first, *schedules)
	n, took := len(all.played), time.Since(begin)
	t.Logf("%d schedules in %v, %.0f a second: %s\n%s", n, took.Round(time.Millisecond), float64(n)/took.Seconds(), all.tally, table(all.seen, all.in))
	if n >= enoughForAll && !t.Failed() {
		for _, what := range required() {
			if all.seen[what] == 0 {
				t.Errorf("in %d schedules this has never happened: %s", n, what)
			}
		}
	}
	if n := min(*again, n); n > 0 && !t.Failed() {
		compare(t, all, play(t, *first, n))
	}
}

// compare says how many schedules went the same way twice.
func compare(t *testing.T, all, second *total) {
	same, alike := 0, 0
	for seed, o := range second.played {
		if all.played[seed].digest == o.digest {
			same++
		}
		if all.played[seed].tally == o.tally {
			alike++
		}
	}
	n := float64(len(second.played))
	t.Logf("%.0f schedules played twice: %.1f %% with the same log, line by line, %.1f %% with the same counts of messages",
		n, 100*float64(same)/n, 100*float64(alike)/n)
}

// table shows what happened, one line each.
func table(seen, in map[string]int) string {
	var b strings.Builder
	for _, what := range sorted(seen) {
		fmt.Fprintf(&b, "%7d times, in %5d schedules: %s\n", seen[what], in[what], what)
	}
	return b.String()
}
