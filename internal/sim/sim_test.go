package sim

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "play only this schedule and print its events")
	schedules = flag.Int("schedules", defaultSchedules, "how many schedules to play with a store in memory; a tenth of it more with a journal")
)

func TestMain(m *testing.M) {
	// The schedules are about what the code does, not about what the disk does: a
	// file system in memory makes them four times as fast.
	if info, err := os.Stat("/dev/shm"); os.Getenv("TMPDIR") == "" && err == nil && info.IsDir() {
		os.Setenv("TMPDIR", "/dev/shm")
	}
	goleak.VerifyTestMain(m)
}

// counts shows that the schedules did something.
type counts struct {
	mu     sync.Mutex
	tally  oracle.Tally
	events map[string]int
}

var totals = counts{events: map[string]int{}}

func (c *counts) happened(event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events[event]++
}

func (c *counts) add(t oracle.Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Accepted += t.Accepted
	c.tally.Uncertain += t.Uncertain
	c.tally.Stored += t.Stored
	c.tally.Survived += t.Survived
}

// event is one kind of thing that may happen in a schedule.
type event struct {
	name   string
	weight int
	do     func(w *world, m *machine) error // m is a random machine
}

var events = []event{
	{"cut", 6, func(w *world, m *machine) error { m.line.Cut(); return nil }},
	{"cut after some bytes up", 6, func(w *world, m *machine) error {
		m.line.CutAfter(faultnet.Up, 1+w.r.Int64N(20000))
		return nil
	}},
	{"cut after some bytes down", 6, func(w *world, m *machine) error {
		m.line.CutAfter(faultnet.Down, 1+w.r.Int64N(600))
		return nil
	}},
	{"stall up", 3, func(w *world, m *machine) error { m.line.Stall(faultnet.Up); return nil }},
	{"stall down", 3, func(w *world, m *machine) error { m.line.Stall(faultnet.Down); return nil }},
	{"one-way: acks lost", 4, func(w *world, m *machine) error { m.line.Swallow(faultnet.Down); return nil }},
	{"one-way: data lost", 3, func(w *world, m *machine) error { m.line.Swallow(faultnet.Up); return nil }},
	{"half-open", 3, func(w *world, m *machine) error {
		m.line.Swallow(faultnet.Up)
		m.line.Swallow(faultnet.Down)
		return nil
	}},
	{"refuse", 2, func(w *world, m *machine) error { m.line.Refuse(true); return nil }},
	{"delay", 2, func(w *world, m *machine) error {
		m.line.Delay(time.Duration(w.r.Int64N(int64(3 * time.Second))))
		return nil
	}},
	{"heal", 14, func(w *world, m *machine) error { m.line.Heal(); return nil }},
	{"collector restarts", 3, func(w *world, m *machine) error {
		if w.server == nil {
			return w.startCollector()
		}
		return w.stopCollector()
	}},
	{"collector is killed", 3, func(w *world, m *machine) error {
		if w.server == nil {
			return w.startCollector()
		}
		return w.killCollector()
	}},
	{"agent restarts", 3, func(w *world, m *machine) error {
		if m.a == nil {
			return w.startAgent(m)
		}
		return w.stopAgent(m)
	}},
	{"agent is killed", 4, func(w *world, m *machine) error {
		if m.a == nil {
			return w.startAgent(m)
		}
		return w.killAgent(m)
	}},
	{"folder is copied", 2, func(w *world, m *machine) error {
		w.freeze()
		m.backup = w.newDir(m.id + "-backup")
		return copyDir(m.backup, m.dir)
	}},
	{"folder is restored", 2, (*world).restore},
}

// restore puts an older copy in the place of an agent's folder, after all that
// only the newer one held has been delivered: then nothing may be lost.
func (w *world) restore(m *machine) error {
	if m.backup == "" {
		return nil
	}
	if err := w.drain(m); err != nil {
		return err
	}
	if err := w.stopAgent(m); err != nil {
		return err
	}
	m.dir = w.newDir(m.id)
	if err := copyDir(m.dir, m.backup); err != nil {
		return err
	}
	return w.startAgent(m)
}

// drain heals what stands between m and the store and waits until m has
// delivered everything. Its producers have ended then.
func (w *world) drain(m *machine) error {
	m.line.Heal()
	if w.server == nil {
		if err := w.startCollector(); err != nil {
			return err
		}
	}
	if m.a == nil {
		if err := w.startAgent(m); err != nil {
			return err
		}
	}
	m.run.stop()
	m.run.producers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := m.a.Flush(ctx); err != nil {
		return fmt.Errorf("%s does not drain: %w; %+v", m.id, err, m.a.Status())
	}
	return nil
}

// play plays the schedule of a seed.
func (w *world) play() error {
	w.begin = time.Now()
	w.storeDir = w.newDir("store")
	if w.r.IntN(4) > 0 { // else the collector is absent at first
		if err := w.startCollector(); err != nil {
			return err
		}
	}
	for i := range 1 + w.r.IntN(2) {
		m := &machine{id: fmt.Sprintf("pump-%d", i+1), line: w.net.Line(w.r.Uint64())}
		m.line.Fragment(true)
		m.dir = w.newDir(m.id)
		w.machines = append(w.machines, m)
		if err := w.startAgent(m); err != nil {
			return err
		}
	}
	// Each schedule draws which events it has, so that there are calm ones and
	// single faults, and everything at once.
	p := []int{20, 50, 100}[w.r.IntN(3)]
	var menu []event
	for _, e := range events {
		if e.name == "heal" || w.r.IntN(100) < p {
			for range e.weight {
				menu = append(menu, e)
			}
		}
	}
	for range 5 + w.r.IntN(25) {
		time.Sleep(time.Duration(w.r.Int64N(int64(4 * time.Second))))
		e, m := menu[w.r.IntN(len(menu))], w.machines[w.r.IntN(len(w.machines))]
		w.note("%s: %s", m.id, e.name)
		if err := e.do(w, m); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		totals.happened(e.name)
	}
	w.note("everything heals")
	for _, m := range w.machines {
		if err := w.drain(m); err != nil {
			return err
		}
	}
	return nil
}

// close ends what runs; the store can still be read.
func (w *world) close() {
	for _, m := range w.machines {
		if m.a != nil {
			m.line.Heal()
			if err := w.stopAgent(m); err != nil {
				w.t.Errorf("%s: close: %v", m.id, err)
			}
		}
	}
	if w.server != nil {
		w.server.stop()
		<-w.server.joined
	}
}

func TestSchedules(t *testing.T) {
	if *oneSeed > 0 {
		playSeed(t, *oneSeed)
		return
	}
	journals := *schedules / 10
	var next atomic.Uint64
	t.Run("play", func(t *testing.T) {
		for worker := range 4 {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					seed := next.Add(1)
					if seed > uint64(*schedules+journals) {
						return
					}
					playSeed(t, seed)
				}
			})
		}
	})
	totals.mu.Lock()
	defer totals.mu.Unlock()
	t.Logf("%d schedules: %s; events %v", *schedules+journals, totals.tally, totals.events)
}

// playSeed plays one schedule in a bubble. Every eleventh has a journal.
func playSeed(t *testing.T, seed uint64) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: filepath.Clean(dir), files: seed%11 == 0}
		err := w.play()
		w.close()
		if err == nil {
			err = w.judge()
		}
		if w.store != nil {
			if e := w.closeStore(); err == nil {
				err = e
			}
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if err != nil || *oneSeed > 0 {
			t.Logf("play it again with: go test ./internal/sim -run TestSchedules -seed %d\n%s", seed, strings.Join(w.events, "\n"))
		}
	})
}
