package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// TestAFullDiskIsNoTrap fills a small file system of its own with a lane that is
// killed, to the last byte. The lane opens again, drains, and takes messages
// again, with nobody making room for it.
func TestAFullDiskIsNoTrap(t *testing.T) {
	const env = "FIELDPOST_QUEUE_FULL_DISK"
	disk := os.Getenv(env)
	phase, disk, _ := strings.Cut(disk, ":")
	cfg := Config{Dir: filepath.Join(disk, "lane"), Agent: "a", Lane: "l", AckDelay: 1, FreeSpace: -1}
	run := func(phase, disk string, attr *syscall.SysProcAttr) error {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run", "^TestAFullDiskIsNoTrap$", "-test.v")
		cmd.Env = append(os.Environ(), env+"="+phase+":"+disk)
		cmd.SysProcAttr = attr
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			if os.Getenv("CI") == "true" {
				t.Fatalf("CI must fill a disk, and no file system of its own can be had here: %v", err)
			}
			t.Skipf("no file system of its own can be had here: %v", err)
		}
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	switch phase {
	case "": // a mount that nobody else sees and that ends with the process
		attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Geteuid() != 0 {
			attr.Cloneflags |= syscall.CLONE_NEWUSER
			attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		}
		if err := run("mount", t.TempDir(), attr); err != nil {
			t.Fatal(err)
		}
	case "mount":
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
			t.Fatal(err)
		}
		for range 5 { // it is killed on the full disk, again and again
			if err := run("fill", disk, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := run("drain", disk, nil); err != nil {
			t.Fatal(err)
		}
	case "fill":
		q, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for n := 400 << 10; n > 0; {
			if err := q.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, n)}); errors.Is(err, ErrFull) {
				n /= 2
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 4<<20), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
		os.Exit(0) // as after kill -9
	case "drain":
		q, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		st := q.Streams()[0]
		if _, err := q.Welcome(context.Background(), storeA, q.Streams(), []wire.Match{{}}); err != nil {
			t.Fatal(err)
		}
		for n := wire.Seq(1); n < st.Next; {
			e, ok, err := q.Next(st.Epoch, n)
			if err != nil || !ok || e.IsTombstone() {
				t.Fatalf("next %d of %d: %+v, %v, %v", n, st.Next, e, ok, err)
			}
			n = e.To + 1
			q.Ack(st.Epoch, n-1)
		}
		for range 3 {
			if err := q.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, 100<<10)}); err != nil {
				t.Fatal(err)
			}
		}
	}
}
