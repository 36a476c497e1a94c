package sim

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// disk is what one process keeps its folder on. Every step of the process on it
// goes through step, which may make it fail, or take a picture of the folder in
// the moment before it: what a crash there leaves. A picture is the end of the
// process: whatever it says and does after it counts for nothing.
type disk struct {
	w     *world
	owner string // for notes and counts: agent or collector
	died  func() // called when a picture is about to be taken

	mu    sync.Mutex
	dir   string
	end   func()                    // ends the watch of dir, nil if nothing is mounted
	fault *fault                    // nil: it is well
	crash *crash                    // nil: none is due
	dead  bool                      // a picture was taken, or the process was killed
	hits  int                       // steps that failed since mount
	since atomic.Pointer[time.Time] // when the first of them did, nil if none has
	safe  synced                    // what a cut of the power would leave
}

// fault makes steps of some kinds fail: one, or all for a while.
type fault struct {
	what  string
	errno syscall.Errno
	kinds []durable.Step // none: all
	skip  int            // steps of these kinds that still succeed
	until time.Time      // zero: one step fails
	hits  int
}

// crash is a picture to be taken ahead of a step.
type crash struct {
	phase string // "": any
	below string // "": any; else what the path has in it
	skip  int    // steps of the phase that still pass
	to    string // where the picture goes
	power uint64 // not 0: the power is cut, with this seed
	done  chan struct{}

	// Set before done is closed.
	at   string // the phase it was
	lost bool   // the power took something with it
	err  error  // of the copy
}

// patience is how long a process that is in a hurry has for a step to come.
const patience = 10 * time.Second

func newDisk(w *world, owner string) *disk { return &disk{w: w, owner: owner} }

// mount puts dir under the disk's care. A fault goes on from the folder before,
// and what is not synced is still not.
func (d *disk) mount(dir string, died func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.safe == nil {
		d.safe = synced{}
	}
	d.dir, d.died, d.dead, d.hits = dir, died, false, 0
	d.since.Store(nil)
	d.end = durable.Watch(dir, d.step)
}

// unmount ends what mount began. A crash that is due does not come any more.
func (d *disk) unmount() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end != nil {
		d.end()
		d.end = nil
	}
	d.crash = nil
}

// kill ends the care for a process that was killed. What it does to its folder
// from now on is not seen by the one that goes on with the copy.
func (d *disk) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// settle says that the next folder is on disk as it is.
func (d *disk) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.safe = synced{}
}

// heal ends the disk's fault.
func (d *disk) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = nil
}

// hurt reports whether a step has failed since mount.
func (d *disk) hurt() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hits > 0
}

func (f *fault) over() bool {
	if f.until.IsZero() {
		return f.hits > 0
	}
	return !time.Now().Before(f.until)
}

// fail draws a fault.
func (d *disk) fail(r *rand.Rand) {
	f := &fault{errno: syscall.EIO}
	all := []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename, durable.DirSync, durable.Open, durable.Remove}
	kind := "every step"
	if k := r.IntN(len(all) + 1); k < len(all) {
		f.kinds, kind = all[k:k+1], string(all[k])
	}
	if r.IntN(3) == 0 {
		f.errno, f.kinds, kind = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}[r.IntN(2)], []durable.Step{durable.Create, durable.Write}, "create, write"
		if r.IntN(2) == 0 { // as file systems that allocate late
			f.kinds, kind = append(f.kinds, durable.Sync), "create, write, sync"
		}
	}
	f.what = fmt.Sprintf("%s: %s: %s", d.owner, kind, name(f.errno))
	if r.IntN(2) == 0 {
		f.skip = r.IntN(4)
		f.what += " once"
	} else {
		f.until = time.Now().Add(time.Duration(r.Int64N(int64(20 * time.Second))))
		f.what += " for a while"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
	d.w.note("disk of %s", f.what)
}

func name(e syscall.Errno) string {
	return map[syscall.Errno]string{syscall.ENOSPC: "ENOSPC", syscall.EDQUOT: "EDQUOT", syscall.EIO: "EIO"}[e]
}

// armBelow narrows an order to the steps below a folder.
func (d *disk) armBelow(c *crash, below string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.below = below
}

// arm orders a picture; done is closed when it has been taken.
func (d *disk) arm(phase string, skip int) *crash {
	c := &crash{phase: phase, skip: skip, to: d.w.newDir(d.owner + "-crashed"), done: make(chan struct{})}
	if seed := d.w.r.Uint64(); *power && seed%2 == 1 {
		c.power = seed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash = c
	return c
}

// count notes what a picture was of, once a process goes on from it.
func (c *crash) count(w *world, owner string) {
	w.saw(owner + " dies ahead of: " + c.at)
	if halfBegun(c.to) {
		w.saw(owner + " dies while a stream is begun")
	}
	if c.lost {
		w.saw(owner + ": the power is cut, and what was not synced is lost")
	}
}

// disarm takes the order back and reports whether it was too late for that.
func (d *disk) disarm(c *crash) (crashed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crash = nil
	return c.at != ""
}

// step is the hook of the folder.
func (d *disk) step(s durable.Step, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil // nobody looks at this folder any more
	}
	phase := phaseOf(s, path)
	if c := d.crash; c != nil && (c.phase == "" || c.phase == phase) && strings.Contains(filepath.ToSlash(path), c.below) {
		if c.skip--; c.skip < 0 {
			d.picture(c, phase)
			return nil
		}
	}
	if !d.fails(s) {
		d.safe.step(s, d.dir, path)
		return nil
	}
	f := d.fault
	f.hits++
	if d.hits++; d.hits == 1 {
		now := time.Now()
		d.since.Store(&now)
	}
	if f.hits == 1 {
		d.w.saw("disk of " + f.what)
	}
	d.w.note("    disk of %s: %s fails: %s", d.owner, phase, name(f.errno))
	return f.errno
}

// fails reports whether a step fails; mu is held.
func (d *disk) fails(s durable.Step) bool {
	f := d.fault
	if f == nil || f.over() || f.kinds != nil && !slices.Contains(f.kinds, s) {
		return false
	}
	f.skip--
	return f.skip < 0
}

// picture copies the folder and ends the process, as far as anybody can see;
// mu is held, so that no other step begins.
func (d *disk) picture(c *crash, phase string) {
	d.dead, d.crash, c.at = true, nil, phase
	d.died()
	d.w.note("    %s dies ahead of: %s", d.owner, phase)
	c.err = copyStable(c.to, d.dir)
	if c.err == nil && c.power != 0 {
		c.lost, c.err = d.safe.cut(c.to, rand.New(rand.NewPCG(c.power, 0)))
		d.safe = synced{}
	}
	close(c.done)
}

// phaseOf names a step by what it is done to.
func phaseOf(s durable.Step, path string) string {
	if s == durable.DirSync {
		return string(s)
	}
	base := filepath.Base(path)
	fresh := strings.HasPrefix(base, "new-") || strings.HasSuffix(base, ".tmp")
	switch segment := strings.Contains(base, ".seg") || strings.Contains(base, ".journal"); {
	case segment && (fresh || s == durable.Rename):
		return string(s) + " new segment"
	case segment:
		return string(s) + " segment"
	}
	return string(s) + " " + strings.TrimSuffix(base, ".tmp")
}

// turnover has the steps of a segment's life in which a crash must have happened:
// an agent's and a collector's. Ahead of a step is behind the one before it.
var turnover = map[string][]string{
	"agent": {"create new segment", "write new segment", "sync new segment", "rename new segment", "sync folder", "open segment",
		"write segment", "sync segment", "remove segment"},
	"collector": {"create new segment", "write new segment", "sync new segment", "rename new segment", "sync folder", "open segment",
		"write segment", "sync segment", "write synced"},
}

// copyStable copies a folder in which a step may just be ending, or a lane go on
// that was between two steps: until two copies are equal.
func copyStable(to, from string) error {
	var last error
	for range 50 {
		if last = os.RemoveAll(to); last != nil {
			return last
		}
		if last = copyDir(to, from); last != nil {
			continue // a file has just gone
		}
		var same bool
		if same, last = equalDirs(to, from); last == nil && same {
			return nil
		}
	}
	return fmt.Errorf("%s does not come to rest: %w", from, last)
}

func equalDirs(a, b string) (bool, error) {
	x, err := readDir(a)
	if err != nil {
		return false, err
	}
	y, err := readDir(b)
	if err != nil || len(x) != len(y) {
		return false, err
	}
	for path, content := range x {
		if other, ok := y[path]; !ok || other != content {
			return false, nil
		}
	}
	return true, nil
}

// readDir returns the content of all files below dir.
func readDir(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(b)
		return err
	})
	return files, err
}

// copyDir copies a folder of files and folders.
func copyDir(to, from string) error { return os.CopyFS(to, os.DirFS(from)) }

// failed returns when a step failed first since mount, zero if none has. It may
// be called from within a step.
func (d *disk) failed() time.Time {
	if at := d.since.Load(); at != nil {
		return *at
	}
	return time.Time{}
}
