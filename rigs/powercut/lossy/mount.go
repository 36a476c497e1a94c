package lossy

import (
	"fmt"
	"io"
	"log"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Mounted is a disk that other processes can use.
type Mounted struct {
	dir    string
	server *fuse.Server
}

const maxIO = 128 << 10 // bytes of one read or write

// Mount shows a disk at the folder dir. It needs root and /dev/fuse. The caller
// unmounts it.
func Mount(dir string, d *Disk) (*Mounted, error) { return mount(dir, d, false) }

// MountUncached is Mount without the kernel's caches, so that what a process asks
// for reaches the disk, where it can fail: each name that is looked up, each stat,
// read and close, and each page of a mapped file at its first touch and after each
// write to it. Nothing is read ahead.
func MountUncached(dir string, d *Disk) (*Mounted, error) { return mount(dir, d, true) }

func mount(dir string, d *Disk, uncached bool) (*Mounted, error) {
	// Mounted by hand: a child of this process must not inherit the device, or the
	// file system would outlive this process.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,max_read=%d", fd, maxIO)
	if err := unix.Mount("lossy", dir, "fuse.lossy", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("mount a lossy disk at %s: %w", dir, err)
	}
	f := &files{RawFileSystem: fuse.NewDefaultRawFileSystem(), d: d, uncached: uncached, lists: map[uint64][]fuse.DirEntry{}}
	mountOptions := &fuse.MountOptions{
		DisableXAttrs: true, DisableReadDirPlus: true, MaxWrite: maxIO,
		Logger: log.New(io.Discard, "", 0), // it would tell of every end of a mount
	}
	if uncached {
		mountOptions.ExtraCapabilities = fuse.CAP_DIRECT_IO_ALLOW_MMAP // bbolt maps its files
		mountOptions.MaxReadAhead = 1                                  // 0 is the default; the kernel makes no page of it
	}
	server, err := fuse.NewServer(f, fmt.Sprintf("/dev/fd/%d", fd), mountOptions)
	if err != nil {
		unix.Unmount(dir, unix.MNT_DETACH)
		unix.Close(fd)
		return nil, fmt.Errorf("serve a lossy disk at %s: %w", dir, err)
	}
	go server.Serve() // Unmount waits for it
	return &Mounted{dir, server}, nil
}

// Unmount takes the disk away. The error is unix.EBUSY while a process uses it.
func (m *Mounted) Unmount() error {
	if err := unix.Unmount(m.dir, 0); err != nil {
		return fmt.Errorf("unmount the lossy disk at %s: %w", m.dir, err)
	}
	m.server.Wait()
	return nil
}

// files answers the kernel's requests. Nodes have their numbers as the kernel's
// node ids; what the kernel forgets stays.
type files struct {
	fuse.RawFileSystem
	d        *Disk
	uncached bool

	mu    sync.Mutex
	last  uint64
	lists map[uint64][]fuse.DirEntry // of open folders, by handle
}

// cached returns how long the kernel may rely on names and attributes: nobody
// else changes them.
func (f *files) cached() time.Duration {
	if f.uncached {
		return 0
	}
	return time.Hour
}

// openFlags says how the kernel is to use an open file.
func (f *files) openFlags() uint32 {
	if f.uncached {
		return fuse.FOPEN_DIRECT_IO
	}
	return 0
}

func status(e syscall.Errno) fuse.Status { return fuse.Status(e) }

func (f *files) String() string { return "lossy" }

// at returns a node; the disk is locked.
func (f *files) at(number uint64) (*node, syscall.Errno) {
	if n := f.d.nodes[number]; n != nil {
		return n, 0
	}
	return nil, syscall.ESTALE
}

// in returns the entry of a folder; the disk is locked.
func (f *files) in(folder uint64, name string) (dir, n *node, errno syscall.Errno) {
	dir, errno = f.at(folder)
	switch {
	case errno != 0:
		return nil, nil, errno
	case !dir.isDir():
		return nil, nil, syscall.ENOTDIR
	}
	if number, ok := dir.seen[name]; ok {
		return dir, f.d.nodes[number], 0
	}
	return dir, nil, 0
}

func attributes(n *node, a *fuse.Attr) {
	a.Ino, a.Mode, a.Nlink, a.Blksize = n.number, n.mode, 1, pageSize
	if n.isDir() {
		a.Nlink = 2
		return
	}
	a.Size, a.Blocks = uint64(n.seenSize), uint64(n.seenSize+511)/512
}

func (f *files) entry(n *node, out *fuse.EntryOut) {
	out.NodeId, out.Generation = n.number, 1
	out.SetEntryTimeout(f.cached())
	out.SetAttrTimeout(f.cached())
	attributes(n, &out.Attr)
}

func (f *files) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return status(f.d.look(f.d.faulty(OpLookup, h.NodeId, name, func() syscall.Errno {
		_, n, errno := f.in(h.NodeId, name)
		if errno == 0 && n == nil {
			errno = syscall.ENOENT
		}
		if errno == 0 {
			f.entry(n, out)
		}
		return errno
	})))
}

func (f *files) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return status(f.d.look(f.d.faulty(OpStat, in.NodeId, "", func() syscall.Errno {
		n, errno := f.at(in.NodeId)
		if errno == 0 {
			out.SetTimeout(f.cached())
			attributes(n, &out.Attr)
		}
		return errno
	})))
}

func (f *files) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	set := func() syscall.Errno {
		n, errno := f.at(in.NodeId)
		if errno != 0 {
			return errno
		}
		if in.Valid&fuse.FATTR_SIZE != 0 {
			n.content.resize(int64(in.Size))
		}
		if in.Valid&fuse.FATTR_MODE != 0 {
			n.mode = n.mode&syscall.S_IFMT | in.Mode&^syscall.S_IFMT
		}
		out.SetTimeout(f.cached())
		attributes(n, &out.Attr)
		return 0
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		return status(f.d.change(Resize, f.d.faulty(OpResize, in.NodeId, "", set)))
	}
	return status(f.d.look(f.d.faulty(OpStat, in.NodeId, "", set)))
}

// make makes a node with a name; the disk is locked.
func (f *files) make(folder uint64, name string, mode uint32, out *fuse.EntryOut) syscall.Errno {
	dir, n, errno := f.in(folder, name)
	switch {
	case errno != 0:
		return errno
	case n != nil:
		return syscall.EEXIST
	}
	n = f.d.node(mode)
	f.d.rename(change{file: n.number, to: place{dir.number, name}})
	f.entry(n, out)
	return 0
}

func (f *files) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	out.OpenFlags = f.openFlags()
	return status(f.d.change(Create, f.d.faulty(OpCreate, in.NodeId, name, func() syscall.Errno {
		return f.make(in.NodeId, name, syscall.S_IFREG|in.Mode&0o7777, &out.EntryOut)
	})))
}

func (f *files) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if kind := in.Mode & syscall.S_IFMT; kind != syscall.S_IFREG && kind != syscall.S_IFSOCK {
		return fuse.ENOSYS
	}
	return status(f.d.change(Create, f.d.faulty(OpCreate, in.NodeId, name, func() syscall.Errno { return f.make(in.NodeId, name, in.Mode, out) })))
}

func (f *files) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return status(f.d.change(Mkdir, f.d.faulty(OpMkdir, in.NodeId, name, func() syscall.Errno {
		return f.make(in.NodeId, name, syscall.S_IFDIR|in.Mode&0o7777, out)
	})))
}

// remove takes a name away; the disk is locked. The node stays for those who have
// it open, and until its loss is synced.
func (f *files) remove(folder uint64, name string, isDir bool) syscall.Errno {
	dir, n, errno := f.in(folder, name)
	switch {
	case errno != 0:
		return errno
	case n == nil:
		return syscall.ENOENT
	case isDir && !n.isDir():
		return syscall.ENOTDIR
	case !isDir && n.isDir():
		return syscall.EISDIR
	case len(n.seen) > 0:
		return syscall.ENOTEMPTY
	}
	f.d.rename(change{file: n.number, from: place{dir.number, name}})
	return 0
}

func (f *files) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return status(f.d.change(Unlink, f.d.faulty(OpUnlink, h.NodeId, name, func() syscall.Errno { return f.remove(h.NodeId, name, false) })))
}

func (f *files) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return status(f.d.change(Unlink, f.d.faulty(OpUnlink, h.NodeId, name, func() syscall.Errno { return f.remove(h.NodeId, name, true) })))
}

func (f *files) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	return status(f.d.change(Rename, f.d.faulty(OpRename, in.Newdir, newName, func() syscall.Errno {
		from, n, errno := f.in(in.NodeId, oldName)
		if errno != 0 {
			return errno
		}
		to, old, errno := f.in(in.Newdir, newName)
		switch {
		case errno != 0:
			return errno
		case n == nil:
			return syscall.ENOENT
		case old == n:
			return 0
		case old != nil && old.isDir():
			return syscall.EEXIST
		case old != nil && n.isDir():
			return syscall.ENOTDIR
		}
		f.d.rename(change{file: n.number, from: place{from.number, oldName}, to: place{to.number, newName}})
		return 0
	})))
}

func (f *files) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = f.openFlags()
	open := func() syscall.Errno {
		n, errno := f.at(in.NodeId)
		if errno == 0 && in.Flags&syscall.O_TRUNC != 0 {
			n.content.resize(0)
		}
		return errno
	}
	if in.Flags&syscall.O_TRUNC != 0 {
		return status(f.d.change(Resize, f.d.faulty(OpResize, in.NodeId, "", open)))
	}
	return status(f.d.look(f.d.faulty(OpOpen, in.NodeId, "", open)))
}

func (f *files) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	kind, got := OpRead, 0
	if f.uncached && in.ReadFlags&fuse.READ_LOCKOWNER == 0 { // a process that reads is its locks' owner, the page cache is none
		kind = OpPageIn
	}
	errno := f.d.look(f.d.faulty(kind, in.NodeId, "", func() syscall.Errno {
		n, errno := f.at(in.NodeId)
		if errno == 0 {
			got = n.content.read(buf, int64(in.Offset))
		}
		return errno
	}))
	return fuse.ReadResultData(buf[:got]), status(errno)
}

// Write looks at O_DSYNC only where nothing is cached: else the kernel follows
// such a write with Fsync.
func (f *files) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	errno := f.d.change(Write, f.d.faulty(OpWrite, in.NodeId, "", func() syscall.Errno {
		n, errno := f.at(in.NodeId)
		if errno == 0 {
			n.content.write(data, int64(in.Offset), f.d.rng)
		}
		return errno
	}))
	if errno == 0 && f.uncached && in.Flags&syscall.O_DSYNC != 0 {
		errno = f.sync(in.NodeId)
	}
	if errno != 0 {
		return 0, status(errno)
	}
	return uint32(len(data)), fuse.OK
}

func (f *files) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(f.sync(in.NodeId))
}

func (f *files) sync(number uint64) syscall.Errno {
	return f.d.change(Sync, f.d.faulty(OpSync, number, "", func() syscall.Errno {
		n, errno := f.at(number)
		if errno == 0 {
			f.d.sync(n)
		}
		return errno
	}))
}

// Flush is a close. Where names and pages are cached the kernel is told that
// nobody cares, and does not ask again.
func (f *files) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if !f.uncached {
		return fuse.ENOSYS
	}
	return status(f.d.look(f.d.faulty(OpClose, in.NodeId, "", func() syscall.Errno { return 0 })))
}

func (f *files) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return status(f.d.change(SyncDir, f.d.faulty(OpSyncDir, in.NodeId, "", func() syscall.Errno {
		n, errno := f.at(in.NodeId)
		if errno == 0 {
			f.d.syncDir(n)
		}
		return errno
	})))
}

// OpenDir notes what the folder holds now; ReadDir reads that.
func (f *files) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	var list []fuse.DirEntry
	errno := f.d.look(f.d.faulty(OpList, in.NodeId, "", func() syscall.Errno {
		dir, errno := f.at(in.NodeId)
		if errno != 0 {
			return errno
		}
		for _, name := range slices.Sorted(maps.Keys(dir.seen)) {
			n := f.d.nodes[dir.seen[name]]
			list = append(list, fuse.DirEntry{Name: name, Ino: n.number, Mode: n.mode})
		}
		return 0
	}))
	if errno != 0 {
		return status(errno)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.lists[f.last], out.Fh = list, f.last
	return fuse.OK
}

func (f *files) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.mu.Lock()
	list := f.lists[in.Fh]
	f.mu.Unlock()
	return status(f.d.look(func() syscall.Errno {
		for i := int(in.Offset); i < len(list); i++ {
			if !out.AddDirEntry(list[i]) {
				break
			}
		}
		return 0
	}))
}

func (f *files) ReleaseDir(in *fuse.ReleaseIn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.lists, in.Fh)
}

func (f *files) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = 1 << 20
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
	out.Blocks, out.Bfree, out.Bavail, out.Files, out.Ffree = blocks, blocks, blocks, blocks, blocks
	return status(f.d.look(f.d.faulty(OpRoom, h.NodeId, "", func() syscall.Errno { return 0 })))
}
