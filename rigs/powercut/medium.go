package powercut

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// Medium says what file system lies on the lossy disk.
type Medium int

// The media.
const (
	Plain Medium = iota // the lossy disk's own
	Ext4                // ext4, on a loop device on a file of the lossy disk
)

// String returns the medium's name.
func (m Medium) String() string { return [...]string{"plain", "ext4"}[m] }

// ErrFileSystem is returned for a history that has no end, because the kernel
// cannot read its own file system after a cut: a disk that lies can do that.
var ErrFileSystem = errors.New("the file system is damaged")

// Missing returns what this machine lacks for a medium, "" if it is there.
func (m Medium) Missing() string {
	if os.Getuid() != 0 {
		return "root, who may mount file systems"
	}
	need := []string{"/dev/fuse"}
	if m == Ext4 {
		need = append(need, "/dev/loop-control")
		if _, err := exec.LookPath("mkfs.ext4"); err != nil {
			return "mkfs.ext4, of the package e2fsprogs"
		}
	}
	for _, path := range need {
		if _, err := os.Stat(path); err != nil {
			return path
		}
	}
	return ""
}

const (
	ext4File = "ext4.img"
	ext4Size = 32 << 20
)

// format returns a fresh disk with the medium on it. site is the rig's folder.
func (m Medium) format(site string, o lossy.Options, seed uint64) (*lossy.Disk, error) {
	d := lossy.New(o, seed)
	if m == Plain {
		return d, nil
	}
	b, err := ext4Image(filepath.Join(site, ext4File))
	if err == nil {
		d.Put(ext4File, b)
	}
	return d, err
}

// making is held while the image is made: one serves all histories of a site.
var making sync.Mutex

// ext4Image returns a fresh ext4 file system, and keeps it at path.
func ext4Image(path string) ([]byte, error) {
	making.Lock()
	defer making.Unlock()
	b, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(path, ext4Size); err != nil {
		return nil, err
	}
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4", path).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return os.ReadFile(path)
}

// mounted is a medium in use.
type mounted struct {
	dir  string // where processes see it
	undo []func() error
}

// mount shows a disk's medium below the folder at.
func (m Medium) mount(at string, d *lossy.Disk) (_ *mounted, err error) {
	v := &mounted{dir: filepath.Join(at, "disk")}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.unmount())
		}
	}()
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := lossy.Mount(v.dir, d)
	if err != nil {
		return nil, err
	}
	v.undo = append(v.undo, func() error { return patiently(f.Unmount) })
	if m == Plain {
		return v, nil
	}
	loop, err := attach(filepath.Join(v.dir, ext4File))
	if err != nil {
		return nil, err
	}
	v.undo = append(v.undo, loop.detach)
	v.dir = filepath.Join(at, "ext4")
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount(loop.path, v.dir, "ext4", 0, ""); err != nil {
		return nil, fmt.Errorf("%w: mount ext4 from %s: %w", ErrFileSystem, loop.path, err)
	}
	v.undo = append(v.undo, func() error { return patiently(func() error { return unix.Unmount(v.dir, 0) }) })
	return v, nil
}

// unmount takes everything away again.
func (v *mounted) unmount() error {
	var errs []error
	for i := len(v.undo) - 1; i >= 0; i-- {
		errs = append(errs, v.undo[i]())
	}
	v.undo = nil
	return errors.Join(errs...)
}

// patiently calls f until nobody uses what it takes away: a process that was
// killed may not be quite gone, and one of another history may not have let go.
func patiently(f func() error) (err error) {
	for range 2000 {
		if err = f(); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}
