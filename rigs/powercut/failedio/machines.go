package failedio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
	"github.com/fieldpost/fieldpost/rigs/powercut/machine"
)

// folder is the product's on each disk.
const folder = "fieldpost"

// host is one side of a life: a machine with a disk and a process.
type host struct {
	side    Side
	site    string // the rig's folder
	at      string // this machine's folder in it
	disk    *lossy.Disk
	inject  *injector
	mounted *lossy.Mounted
	process *process
}

// boot mounts the disk and starts the process.
func (h *host) boot(heard func(*saying) error) (err error) {
	dir := filepath.Join(h.at, "disk")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	id := filepath.Join(h.at, "boot_id")
	if err := machine.Boot(id); err != nil {
		return err
	}
	h.disk.Watch(h.inject.ask)
	if h.mounted, err = lossy.MountUncached(dir, h.disk); err != nil {
		return err
	}
	h.process, err = start(&birth{Side: h.side, Site: h.site, Own: h.at, BootID: id, Dir: filepath.Join(dir, folder)}, heard)
	return err
}

// cut cuts the power, and leaves the disk that the machine finds afterwards.
func (h *host) cut(seed uint64) error {
	h.disk.Cut()
	if err := h.down(true); err != nil {
		return err
	}
	h.disk = h.disk.Image(seed)
	return nil
}

// down ends the process and takes the disk away.
func (h *host) down(kill bool) error {
	var errs []error
	if h.process != nil {
		if err := h.process.end(kill); err != nil {
			errs = append(errs, fmt.Errorf("the %s's process: %w", h.side, err))
		}
		h.process = nil
	}
	if h.mounted != nil {
		if err := unmount(h.mounted); err != nil {
			errs = append(errs, err)
		}
		h.mounted = nil
	}
	return errors.Join(errs...)
}

// unmount waits until nobody uses the disk: a process that was killed may not be
// quite gone, and one of another life may not have let go.
func unmount(m *lossy.Mounted) (err error) {
	for range 2000 {
		if err = m.Unmount(); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}
