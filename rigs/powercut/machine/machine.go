// Package machine lets a child process believe that it runs on a machine of its
// own: with mounts that no other child holds, and with a boot id that changes when
// the power comes back. It needs root.
package machine

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace returns what a child is started with, so that it can [Settle].
func Namespace() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// Boot writes a new boot id to the file at path.
func Boot(path string) error {
	var b [16]byte
	rand.Read(b[:])
	id := fmt.Sprintf("%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	return os.WriteFile(path, []byte(id), 0o600)
}

// Settle is the child's first step: of all that is mounted below the folder site
// it keeps what is at or below own, so that others can unmount theirs, and the
// file at bootID takes the place of the kernel's boot id.
func Settle(site, own, bootID string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var others []string
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 1 && strings.HasPrefix(f[1], site+"/") && f[1] != own && !strings.HasPrefix(f[1], own+"/") {
			others = append(others, f[1])
		}
	}
	for i := len(others) - 1; i >= 0; i-- { // what is mounted upon something goes first
		if err := unix.Unmount(others[i], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("let go of %s: %w", others[i], err)
		}
	}
	return unix.Mount(bootID, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, "")
}
