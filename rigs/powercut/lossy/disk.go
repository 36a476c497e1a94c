package lossy

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// Options says what a disk is like.
type Options struct {
	Order   Order
	OwnName OwnName
	Lies    Lies
}

// Disk is a file system on a disk with a volatile cache.
type Disk struct {
	opts Options
	done chan struct{} // closed by the cut

	mu     sync.Mutex // guards what follows
	rng    *rand.Rand
	nodes  map[uint64]*node
	last   uint64 // the highest number of a node
	names  names
	trap   Trap
	counts [Events]int // since Arm
	total  int         // of them
	sprung bool        // the trap has; it says then where that was
	cut    bool
	watch  func(Op) Fault // nil: nothing fails
}

const root = 1

// node is a file or a folder.
type node struct {
	number     uint64
	mode       uint32            // syscall.S_IFDIR or S_IFREG, and permissions
	at         place             // its name, or the last that it had
	seen, disk map[string]uint64 // of a folder: its entries
	content                      // of a file
}

func (n *node) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// New returns an empty disk. seed decides what is left to chance, as far as the
// order of the operations is the same.
func New(o Options, seed uint64) *Disk {
	d := &Disk{opts: o, done: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[uint64]*node{}, names: names{order: o.Order}}
	d.node(syscall.S_IFDIR | 0o700)
	return d
}

// node makes a node; mu is held, or nobody else has the disk.
func (d *Disk) node(mode uint32) *node {
	d.last++
	n := &node{number: d.last, mode: mode}
	if n.isDir() {
		n.seen, n.disk = map[string]uint64{}, map[string]uint64{}
	}
	d.nodes[n.number] = n
	return n
}

// Put makes a file in the root folder, with its name and content synced.
func (d *Disk) Put(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.node(syscall.S_IFREG | 0o600)
	for off := 0; off < len(b); off += pageSize {
		if part := b[off:min(len(b), off+pageSize)]; string(part) != string(zero[:len(part)]) {
			n.content.write(part, int64(off), d.rng)
		}
	}
	n.content.resize(int64(len(b)))
	n.content.sync()
	n.at = place{root, name}
	d.nodes[root].seen[name] = n.number
	d.nodes[root].disk[name] = n.number
}

// Arm sets the trap and counts events from here on.
func (d *Disk) Arm(t Trap) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trap, d.counts, d.total, d.sprung = t, [Events]int{}, 0, false
}

// Cut cuts the power now, if it is not cut yet.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutNow()
}

func (d *Disk) cutNow() {
	if !d.cut {
		d.cut = true
		close(d.done)
	}
}

// Done is closed when the power is cut.
func (d *Disk) Done() <-chan struct{} { return d.done }

// Counts returns how many events of each kind there were since Arm.
func (d *Disk) Counts() [Events]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// Sprung returns where the trap has sprung, false if it has not.
func (d *Disk) Sprung() (Trap, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trap, d.sprung
}

// change runs an operation that can spring the trap.
func (d *Disk) change(e Event, op func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		return syscall.EIO
	}
	d.counts[e]++
	d.total++
	hit := !d.sprung && (d.trap.N > 0 && d.trap.Event == e && d.trap.N == d.counts[e] || d.trap.Limit > 0 && d.trap.Limit == d.total)
	if hit {
		d.trap.Event, d.trap.N = e, d.counts[e]
	}
	if hit && d.trap.When == Before {
		d.spring()
		if d.cut {
			return syscall.EIO
		}
	}
	errno := op()
	if hit && d.trap.When != Before {
		d.spring()
		if d.cut && d.trap.When == Unanswered {
			return syscall.EIO
		}
	}
	return errno
}

func (d *Disk) spring() {
	d.sprung = true
	if d.trap.Spring != nil {
		d.trap.Spring()
		return
	}
	d.cutNow()
}

// look runs an operation that changes nothing.
func (d *Disk) look(op func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut {
		return syscall.EIO
	}
	return op()
}

// lies decides whether a flush does nothing.
func (d *Disk) lies(all bool) bool {
	return all || d.opts.Lies.OneIn > 0 && d.rng.IntN(d.opts.Lies.OneIn) == 0
}

// sync flushes a file.
func (d *Disk) sync(n *node) {
	if d.lies(d.opts.Lies.Files) {
		return
	}
	resized := n.diskSize != n.seenSize
	n.content.sync()
	d.bringOwnName(n, resized)
}

// syncDir flushes a folder.
func (d *Disk) syncDir(n *node) {
	if d.lies(d.opts.Lies.Folders) {
		return
	}
	d.bring(d.names.take(func(c *change) bool { return c.touches(n.number) || d.opts.Order == Journaled }))
	d.bringOwnName(n, false)
}

// bringOwnName lets a flush bring the name of what is flushed. A journal is
// certainly committed where the flush has a length to bring.
func (d *Disk) bringOwnName(n *node, resized bool) {
	journal := d.opts.Order == Journaled
	if d.opts.OwnName == Always || journal && resized || d.opts.OwnName == Sometimes && d.rng.IntN(2) == 0 {
		d.bring(d.names.take(func(c *change) bool { return c.file == n.number || journal }))
	}
}

// bring puts changes of names on the disk.
func (d *Disk) bring(list []change) {
	for i := range list {
		d.apply(&list[i], func(folder uint64) map[string]uint64 { return d.nodes[folder].disk })
	}
}

func (d *Disk) apply(c *change, entries func(folder uint64) map[string]uint64) {
	if c.from.name != "" {
		delete(entries(c.from.folder), c.from.name)
	}
	if c.to.name != "" {
		entries(c.to.folder)[c.to.name] = c.file
	}
}

// rename notes and applies a change of names.
func (d *Disk) rename(c change) {
	d.names.list = append(d.names.list, c)
	d.apply(&c, func(folder uint64) map[string]uint64 { return d.nodes[folder].seen })
	if c.to.name != "" {
		d.nodes[c.file].at = c.to
	}
}

// Image returns the disk as the machine finds it after the cut, with all of it
// synced and the power on. seed decides what is left of what was not synced; the
// same seed gives the same image. The disk itself stays as it is, so that several
// images can be made of one cut.
func (d *Disk) Image(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 2))
	chances := []float64{0, 0.5, 0.5, 0.9, 1}
	keepName, keepSector := chances[rng.IntN(len(chances))], chances[rng.IntN(len(chances))]

	left := &names{order: d.names.order, list: slices.Clone(d.names.list)}
	kept := left.survive(func(*change) bool { return rng.Float64() < keepName })
	folders := map[uint64]map[string]uint64{}
	entries := func(folder uint64) map[string]uint64 {
		if folders[folder] == nil {
			folders[folder] = maps.Clone(d.nodes[folder].disk)
		}
		return folders[folder]
	}
	for i := range kept {
		d.apply(&kept[i], entries)
	}

	img := &Disk{opts: d.opts, done: make(chan struct{}), rng: rng, nodes: map[uint64]*node{}, last: d.last, names: names{order: d.names.order}}
	var visit func(number uint64)
	visit = func(number uint64) {
		n := d.nodes[number]
		m := &node{number: number, mode: n.mode}
		img.nodes[number] = m
		if !n.isDir() {
			m.content = *n.content.image(rng, keepSector)
			return
		}
		m.disk = maps.Clone(entries(number))
		m.seen = maps.Clone(m.disk)
		for _, name := range slices.Sorted(maps.Keys(m.disk)) {
			visit(m.disk[name])
			img.nodes[m.disk[name]].at = place{number, name}
		}
	}
	visit(root)
	return img
}

// Dump writes what is seen on the disk into a folder, which is made, for people to
// look at.
func (d *Disk) Dump(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dump(d.nodes[root], dir)
}

func (d *Disk) dump(n *node, path string) error {
	if !n.isDir() {
		b := make([]byte, n.seenSize)
		n.content.read(b, 0)
		return os.WriteFile(path, b, 0o600)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for name, number := range n.seen {
		if err := d.dump(d.nodes[number], filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}
