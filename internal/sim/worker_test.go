package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/fieldpost/fieldpost/internal/oracle"
)

// Schedules are played by processes of one processor each, one schedule after
// another: goroutines of other schedules do not get in between, and random ids
// can be the seed's. Worker k of n plays every n-th schedule.

// workerVariable tells a process that it is a worker: "k/n file".
const workerVariable = "FIELDPOST_SIM_WORKER"

// total is what became of many schedules.
type total struct {
	played map[uint64]brief // by seed
	tally  oracle.Tally
	seen   map[string]int // how often something happened
	in     map[string]int // in how many schedules
}

// brief is what a second run of a schedule is compared by.
type brief struct {
	digest uint64
	tally  oracle.Tally
}

func (all *total) add(o outcome) {
	all.played[o.Seed] = brief{o.Digest, o.Tally}
	all.tally.Accepted += o.Tally.Accepted
	all.tally.Uncertain += o.Tally.Uncertain
	all.tally.Stored += o.Tally.Stored
	all.tally.Survived += o.Tally.Survived
	all.tally.Declared += o.Tally.Declared
	for what, n := range o.Seen {
		all.seen[what] += n
		all.in[what]++
	}
}

// play lets workers play so many schedules from a seed on. The first failure ends
// all of them.
func play(t *testing.T, from uint64, count int) *total {
	t.Helper()
	n := *workers
	if n <= 0 {
		n = runtime.NumCPU()
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := &total{played: map[uint64]brief{}, seen: map[string]int{}, in: map[string]int{}}
	dir := t.TempDir()
	for k := range n {
		report := filepath.Join(dir, fmt.Sprint(k))
		wg.Go(func() {
			cmd := exec.CommandContext(ctx, exe, "-test.run", "^TestSchedules$", "-test.timeout", "0",
				"-first", fmt.Sprint(from), "-schedules", fmt.Sprint(count), fmt.Sprintf("-power=%v", *power))
			cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "TMPDIR="+dir, fmt.Sprintf("%s=%d/%d %s", workerVariable, k, n, report))
			in, err := cmd.StdinPipe() // it ends with us; see dieWithParent
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			if err != nil && ctx.Err() == nil {
				t.Errorf("worker: %v\n%s", err, out)
				cancel()
			}
			if err := readOutcomes(report, all); err != nil && ctx.Err() == nil {
				t.Errorf("worker's report: %v", err)
			}
		})
	}
	wg.Wait()
	if len(all.played) != count && !t.Failed() {
		t.Errorf("%d schedules were ordered, %d were played", count, len(all.played))
	}
	return all
}

// work plays a worker's part, up to the first failure.
func work(t *testing.T) {
	var k, n uint64
	var report string
	if _, err := fmt.Sscanf(os.Getenv(workerVariable), "%d/%d %s", &k, &n, &report); err != nil || n == 0 {
		t.Fatalf("%s=%q: %v", workerVariable, os.Getenv(workerVariable), err)
	}
	f, err := os.Create(report)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	for i := k; i < uint64(*schedules) && !t.Failed(); i += n {
		if err := json.NewEncoder(f).Encode(playSeed(t, *first+i, dir)); err != nil {
			t.Fatal(err)
		}
	}
}

func readOutcomes(path string, into *total) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var o outcome
		if err := d.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		into.add(o)
	}
}

// dieWithParent ends a worker when the process that started it has gone.
func dieWithParent() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}
