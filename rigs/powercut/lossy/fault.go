package lossy

import (
	"path"
	"syscall"
	"time"
)

// Kind is a kind of operation that can fail.
type Kind int

// The kinds. What of them a process's calls become is the kernel's affair; see
// [MountUncached].
const (
	OpLookup  Kind = iota // a name is looked up
	OpStat                // attributes are asked for, or changed
	OpOpen                // of a file that exists
	OpCreate              // of a file
	OpRead                // by a call of the process; where pages are cached, also for the cache
	OpPageIn              // of a mapped file; only of a mount without caches
	OpWrite               //
	OpSync                // of a file
	OpSyncDir             // of a folder
	OpClose               // of a file
	OpRename              //
	OpUnlink              // of a file or a folder
	OpMkdir               //
	OpResize              // truncate, or open with O_TRUNC
	OpList                // of a folder: it is opened
	OpRoom                // how much is free is asked for
	Kinds     int  = iota // how many there are
)

// String returns the kind's name.
func (k Kind) String() string {
	return [...]string{"lookup", "stat", "open", "create", "read", "page-in", "write", "sync", "sync of a folder", "close", "rename", "unlink",
		"mkdir", "resize", "list", "room"}[k]
}

// Insisting is how long an operation of a kind that [Kind.Insists] has to fail for
// a process to notice.
const Insisting = 2 * time.Millisecond

// Insists reports whether the kernel asks a second time before it tells anyone
// that an operation failed: for a name that it knew, for a page of a mapped file.
func (k Kind) Insists() bool { return k == OpLookup || k == OpPageIn }

// Op is an operation that is about to be done.
type Op struct {
	Kind Kind
	Path string // of a rename the new name; begins with / at the disk's root
}

// Fault is how an operation fails; the zero Fault is none.
type Fault struct {
	Errno syscall.Errno
	Done  bool // it is done, and answered with Errno all the same
}

// Watch asks f ahead of each operation from here on whether it is to fail; nil:
// none does. f is called by one goroutine at a time and must not touch the disk.
//
// A sync of a file that fails takes the file's unsynced sectors off the list of
// what is to be written, each with a chance of one half: like after a failed
// write-back of Linux, everybody still reads what was written, the next sync says
// yes, and after a power cut it is gone.
func (d *Disk) Watch(f func(Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
}

// faulty returns op as it is with whatever fault the watcher wants for it. What it
// returns runs with the disk locked.
func (d *Disk) faulty(k Kind, number uint64, name string, op func() syscall.Errno) func() syscall.Errno {
	return func() syscall.Errno {
		if d.watch == nil {
			return op()
		}
		fault := d.watch(Op{k, d.path(number, name)})
		switch {
		case fault.Errno == 0:
			return op()
		case fault.Done:
			op()
		case k == OpSync && d.nodes[number] != nil:
			d.nodes[number].content.lose(d.rng)
		}
		return fault.Errno
	}
}

// path returns where a node is, and a name below it; the disk is locked.
func (d *Disk) path(number uint64, name string) string {
	for number != root && d.nodes[number] != nil {
		at := d.nodes[number].at
		number, name = at.folder, path.Join(at.name, name)
	}
	return "/" + name
}
