package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/internal/config"
)

// Disk is the disk below a data folder.
type Disk struct {
	Dir string

	// Floor is how much of the disk the program leaves free: below it, it takes
	// nothing. It is asked with the disk's size in bytes; nil: 0.
	Floor func(total int64) int64

	stat func(dir string) (volume, error)   // for tests; nil: the system's
	sync func(f *os.File) error             // for tests; nil: the system's
	make func(dir string) (*os.File, error) // for tests; nil: a file without a name
	now  func() time.Time                   // for tests; nil: time.Now
}

// volume is what the system says of a disk.
type volume struct {
	kind          string // the file system's name
	free, total   int64  // bytes; free: for who is not root
	inodes, nodes uint64 // free, and in all; 0 in all: it does not count them
	readOnly      bool
	network       bool   // another machine has it
	volatile      bool   // gone with the next start of the machine
	layered       bool   // of a container, gone with it
	quirk, advice string // what else is known of it
}

// Checks returns the checks of the disk. They need the check "folder".
func (d *Disk) Checks() []Check {
	needs := []string{"folder"}
	return []Check{
		{Group: "disk", Name: "disk-space", Needs: needs, Run: d.space},
		{Group: "disk", Name: "file-system", Needs: needs, Run: d.fileSystem},
		{Group: "disk", Name: "fsync", Needs: needs, Time: 6 * time.Second, Run: d.speed},
	}
}

// Folder checks that the data folder is there and can be looked into.
func Folder(dir string, missing Finding) Check {
	return Check{Group: "disk", Name: "folder", Run: func(context.Context) []Finding {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return []Finding{missing}
		case errors.Is(err, fs.ErrPermission):
			return []Finding{Unseen(asRoot, "%s: this user may not look at it", dir)}
		case err != nil:
			return []Finding{Bad("look at the disk", "%v", err)}
		case !info.IsDir():
			return []Finding{Bad("name the folder with --dir", "%s is a file", dir)}
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrPermission) {
			if mine(info) {
				return []Finding{Bad("chmod 700 "+dir, "%s is this user's, and its mode %04o keeps it out", dir, info.Mode().Perm())}
			}
			return []Finding{Unseen(asRoot, "%s: this user may not look into it", dir)}
		}
		if err != nil {
			return []Finding{Bad("look at the disk", "%v", err)}
		}
		defer f.Close()
		if _, err := f.ReadDir(-1); err != nil {
			return []Finding{Bad("look at the disk and its log (dmesg)", "%v", err)}
		}
		return []Finding{Good("%s is there and can be read", dir)}
	}}
}

const asRoot = "run this as root (sudo) or an administrator, or as the account of the service"

func (d *Disk) look() (volume, error) {
	if d.stat != nil {
		return d.stat(d.Dir)
	}
	return statVolume(d.Dir)
}

// Disks with less than this have little space, whatever the floor is.
const littleSpace = 256 << 20

func (d *Disk) space(context.Context) []Finding {
	v, err := d.look()
	if err != nil {
		return []Finding{Bad("look at the disk", "%v", err)}
	}
	floor := int64(0)
	if d.Floor != nil {
		floor = d.Floor(v.total)
	}
	text := fmt.Sprintf("%s of %s are free", approximate(v.free), approximate(v.total))
	if floor > 0 {
		text += ", " + approximate(floor) + " are to stay free"
	}
	const next = "make room on this disk, or move the folder to a larger one; what is delivered gives its room back"
	var list []Finding
	switch {
	case v.free <= floor || v.free < 1<<20:
		list = append(list, Bad(next, "%s: nothing is accepted", text))
	case v.free < max(2*floor, min(littleSpace, v.total/20)):
		list = append(list, Doubt(next, "%s: that is little", text))
	default:
		list = append(list, Good("%s", text))
	}
	if v.nodes > 0 {
		text := fmt.Sprintf("%d of %d inodes are free", v.inodes, v.nodes)
		switch {
		case v.inodes < 16:
			list = append(list, Bad("delete small files: there is room, but no more files can be made", "%s", text).For("inodes"))
		case v.inodes < min(1000, v.nodes/50):
			list = append(list, Doubt("delete small files: there is room, but soon no more files can be made", "%s", text).For("inodes"))
		default:
			list = append(list, Good("%s", text).For("inodes"))
		}
	}
	return list
}

func (d *Disk) fileSystem(context.Context) []Finding {
	v, err := d.look()
	if err != nil {
		return []Finding{Bad("look at the disk", "%v", err)}
	}
	switch {
	case v.readOnly:
		return []Finding{Bad("mount it writable; after a fault of the disk a kernel does this by itself: see dmesg", "%s, mounted read-only: nothing is accepted", v.kind)}
	case v.network:
		return []Finding{Doubt("move the folder to a disk of this machine: locks and fsync over a network are not to be relied on", "%s: another machine has this disk", v.kind)}
	case v.volatile:
		return []Finding{Doubt("move the folder to a disk", "%s is memory: what waits here is lost when the machine starts again", v.kind)}
	case v.layered:
		return []Finding{Doubt("put the folder on a volume, or on a writable partition", "%s: what waits here is lost with the container, or when a live system starts again", v.kind)}
	case v.quirk != "":
		return []Finding{Doubt(v.advice, "%s: %s", v.kind, v.quirk)}
	}
	return []Finding{Good("%s, writable, of this machine", v.kind)}
}

// What an fsync should take.
const (
	slowSync  = 50 * time.Millisecond
	slowTail  = 500 * time.Millisecond
	fastSync  = 15 * time.Microsecond // no disk that keeps its word is faster
	probes    = 48
	probeTime = 3 * time.Second
)

// speed appends and syncs a page now and then in a file without a name.
func (d *Disk) speed(ctx context.Context) []Finding {
	open, syncFile, now := d.make, d.sync, d.now
	if open == nil {
		open = nameless
	}
	if syncFile == nil {
		syncFile = fdatasync
	}
	if now == nil {
		now = time.Now
	}
	f, err := open(d.Dir)
	if errors.Is(err, fs.ErrPermission) {
		return []Finding{Doubt(asRoot, "not measured: this user may not write here")}
	}
	if err != nil {
		return []Finding{Bad("look at the disk: nothing can be accepted", "no file can be made here: %v", err)}
	}
	defer removeNameless(f)
	page := make([]byte, 4096)
	var took []time.Duration
	for began := now(); len(took) < probes && ctx.Err() == nil && now().Sub(began) < probeTime; {
		if _, err := f.Write(page); err != nil {
			return []Finding{Bad("look at the disk: nothing can be accepted", "writing fails: %v", withoutPath(err))}
		}
		at := now()
		if err := syncFile(f); err != nil {
			return []Finding{Bad("look at the disk and its log (dmesg): what it says is written may not be", "fsync fails: %v", withoutPath(err))}
		}
		took = append(took, now().Sub(at))
	}
	if len(took) == 0 {
		return []Finding{Doubt("run this again", "not measured: no time was left")}
	}
	return []Finding{judgeSpeed(took)}
}

func judgeSpeed(took []time.Duration) Finding {
	p50, p99 := quantile(took, 0.5), quantile(took, 0.99)
	text := fmt.Sprintf("4 KiB and fsync take %s (p50), %s (p99), of %d", round(p50), round(p99), len(took))
	switch {
	case p50 > slowSync:
		return Doubt("look at what else writes to this disk, and at its health (smartctl -a); each message that is sent alone waits for one of these", "%s: that is slow", text)
	case p99 > slowTail:
		return Doubt("look at what else writes to this disk, and at its health (smartctl -a)", "%s: now and then that is slow", text)
	case p50 < fastSync:
		return Doubt("if this is a disk: see whether a hypervisor or controller only says that it writes; then a power cut loses what was accepted", "%s: faster than a disk can be", text)
	}
	return Good("%s", text)
}

// quantile returns the q-th of list, which it sorts.
func quantile(list []time.Duration, q float64) time.Duration {
	slices.Sort(list)
	return list[min(len(list)-1, int(q*float64(len(list))))]
}

func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func approximate(n int64) string { return config.Approximate(uint64(max(0, n))) }
