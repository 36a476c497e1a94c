package powercut

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
	"github.com/fieldpost/fieldpost/rigs/powercut/machine"
)

// Config says what histories are like.
type Config struct {
	Site   string // a folder for mounts, which exists; several histories may share it
	Medium Medium

	// Disk says how the disk is; nil: the seed decides.
	Disk *lossy.Options

	// Keep, if not "", is a folder for the disks of histories that went wrong: what
	// each life found.
	Keep string
}

// Result is what became of a history.
type Result struct {
	Seed   uint64
	Wrong  []string // what must not be; empty if all is well
	Log    []string // the lives, for people
	Counts Counts
}

// OK reports whether all is well.
func (r *Result) OK() bool { return len(r.Wrong) == 0 }

// String tells the whole history.
func (r *Result) String() string {
	return fmt.Sprintf("seed %d:\n  %s\n %s", r.Seed, strings.Join(r.Wrong, "\n  "), strings.Join(r.Log, "\n "))
}

// wrong notes what must not be.
func (r *Result) wrong(format string, a ...any) {
	const most = 20
	if len(r.Wrong) < most {
		r.Wrong = append(r.Wrong, fmt.Sprintf(format, a...))
	}
}

// history is a history while it runs.
type history struct {
	cfg     Config
	rng     *rand.Rand
	at      string // its folder
	segment int64  // bytes of a segment
	disk    *lossy.Disk
	disks   []*lossy.Disk // what each life found, if they are kept
	result  Result
}

// segmentSizes make lanes and journals begin a new file every few commits, or
// every few dozen.
var segmentSizes = []int64{64 << 10, 256 << 10}

// begin makes a history's folder and its disk. The caller calls finish.
func begin(cfg Config, seed uint64) (*history, error) {
	h := &history{cfg: cfg, rng: rand.New(rand.NewPCG(seed, 0)), result: Result{Seed: seed}}
	at, err := os.MkdirTemp(cfg.Site, "history-")
	if err != nil {
		return nil, err
	}
	h.at = at
	o := lossy.Options{Order: lossy.Order(h.rng.IntN(3)), OwnName: lossy.OwnName(h.rng.IntN(3))}
	if cfg.Disk != nil {
		o = *cfg.Disk
	}
	h.segment = segmentSizes[h.rng.IntN(len(segmentSizes))]
	h.result.Log = append(h.result.Log, fmt.Sprintf("%s, names %s, own names %s, segments of %d", cfg.Medium, o.Order, o.OwnName, h.segment))
	h.disk, err = cfg.Medium.format(cfg.Site, o, h.rng.Uint64())
	if err == nil {
		err = h.boot()
	}
	return h, err
}

// finish removes the history's folder, and keeps its disks elsewhere if that is
// wanted.
func (h *history) finish() (Result, error) {
	var errs []error
	if h.cfg.Keep != "" && !h.result.OK() {
		for i, d := range h.disks {
			errs = append(errs, d.Dump(filepath.Join(h.cfg.Keep, fmt.Sprint(h.result.Seed), fmt.Sprintf("life-%d", i+1))))
		}
	}
	errs = append(errs, os.RemoveAll(h.at))
	return h.result, errors.Join(errs...)
}

// boot gives the machine a new boot id.
func (h *history) boot() error {
	return machine.Boot(filepath.Join(h.at, "boot_id"))
}

// Events at which a life can end, with the highest number that is of use. Each is
// drawn as often as it stands here.
var (
	agentEvents = []lossy.Trap{
		{Event: lossy.Write, N: 400}, {Event: lossy.Write, N: 400}, {Event: lossy.Sync, N: 150}, {Event: lossy.Sync, N: 150},
		{Event: lossy.SyncDir, N: 14}, {Event: lossy.SyncDir, N: 14}, {Event: lossy.Create, N: 14}, {Event: lossy.Rename, N: 14},
		{Event: lossy.Unlink, N: 12}, {Event: lossy.Unlink, N: 12}, {Event: lossy.Resize, N: 16}, {Event: lossy.Mkdir, N: 5},
	}
	journalEvents = []lossy.Trap{
		{Event: lossy.Write, N: 250}, {Event: lossy.Write, N: 250}, {Event: lossy.Sync, N: 100}, {Event: lossy.Sync, N: 100},
		{Event: lossy.SyncDir, N: 12}, {Event: lossy.Create, N: 10}, {Event: lossy.Rename, N: 10}, {Event: lossy.Mkdir, N: 4},
	}
	blockEvents = []lossy.Trap{{Event: lossy.Write, N: 150}, {Event: lossy.Write, N: 150}, {Event: lossy.Sync, N: 120}}
)

// maxEvents ends a life in which the event that was drawn does not come.
const maxEvents = 700

// draw chooses where a life ends: low numbers, when it has hardly begun, are as
// likely as high ones.
func (h *history) draw(list []lossy.Trap) lossy.Trap {
	if h.cfg.Medium == Ext4 {
		list = blockEvents // names are the kernel's
	}
	t := list[h.rng.IntN(len(list))]
	t.N = int(math.Exp(h.rng.Float64() * math.Log(float64(t.N)+1)))
	t.When, t.Limit = lossy.When(h.rng.IntN(3)), maxEvents
	return t
}

// drawEnding chooses how a life ends.
func (h *history) drawEnding() ending {
	switch h.rng.IntN(10) {
	case 0:
		return byKill
	case 1:
		return byStop
	}
	return byCut
}

// live runs a life on the history's disk, and afterwards leaves there what the
// next one finds.
func (h *history) live(l *life) (death, error) {
	l.site, l.at, l.medium, l.disk, l.orders.Segment = h.cfg.Site, h.at, h.cfg.Medium, h.disk, h.segment
	if h.cfg.Keep != "" {
		h.disks = append(h.disks, h.disk)
	}
	start := time.Now()
	d, err := l.live()
	if err != nil {
		return d, err
	}
	what := l.ending.String()
	trap, sprung := h.disk.Sprung()
	switch {
	case sprung:
		what += " " + trap.String()
	case l.ending != byItself && l.now == nil:
		what += " by the clock"
	}
	h.result.Counts.add(l, trap, sprung)
	counts := h.disk.Counts()
	h.result.Log = append(h.result.Log, fmt.Sprintf("life: %s; %v events in %s", what, counts, time.Since(start).Round(time.Millisecond)))
	h.judgeDeath(l, &d)
	if l.ending == byCut || l.ending == byStop {
		seed := h.rng.Uint64()
		h.disk = h.disk.Image(seed)
		return d, h.boot()
	}
	return d, nil
}

// judgeDeath looks at how the process ended. With a dead disk it may fail, but not
// crash.
func (h *history) judgeDeath(l *life, d *death) {
	switch {
	case d.early:
		h.result.wrong("the process ended while its disk was well: %s (%v)", d.failed, d.exit)
	case (l.ending == byStop || l.ending == byItself) && d.failed != "":
		h.result.wrong("the process failed: %s", d.failed)
	case l.ending != byKill && !d.killed && d.exit != nil:
		h.result.wrong("the process crashed: %v", d.exit)
	}
	if d.stderr != "" {
		h.result.Log = append(h.result.Log, "  "+strings.ReplaceAll(strings.TrimSpace(d.stderr), "\n", "\n   "))
	}
}
