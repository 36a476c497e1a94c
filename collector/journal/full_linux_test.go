package journal

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAFullDiskIsAState fills a small file system, on which a journal lies, from
// outside and frees it again, a hundred times on tmpfs and a hundred on ext4. While it is full the journal acks
// nothing that it does not hold and goes on to serve what it has; once there is room
// it goes on by itself. In the end all that was acked is there once.
func TestAFullDiskIsAState(t *testing.T) {
	const env = "FIELDPOST_JOURNAL_FULL_DISK"
	if kind, disk, ok := strings.Cut(os.Getenv(env), ":"); ok {
		fullDisk(t, kind, disk)
		return
	}
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) { fullDiskProcess(t, env+"="+kind+":"+t.TempDir()) })
	}
}

// cannot skips a test by name, and fails it where CI is to run it.
func cannot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must fill a disk, and no file system of its own can be had here: %s", why)
	}
	t.Skipf("no file system of its own can be had here: %s", why)
}

// fullDiskProcess runs the test in a process with mounts of its own.
func fullDiskProcess(t *testing.T, env string) {
	if strings.Contains(env, "=ext4:") {
		if os.Geteuid() != 0 {
			cannot(t, "a loop device needs root")
		}
		if _, err := exec.LookPath("mkfs.ext4"); err != nil {
			cannot(t, err.Error())
		}
	}
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run", "^TestAFullDiskIsAState$", "-test.v")
	cmd.Env = append(os.Environ(), env)
	// A mount that nobody else sees and that ends with the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		cannot(t, err.Error())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func fullDisk(t *testing.T, kind, folder string) {
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	disk := filepath.Join(folder, "disk")
	must(t, os.Mkdir(disk, 0o700))
	if kind == "tmpfs" {
		must(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32m"))
	} else {
		image := filepath.Join(folder, "image")
		must(t, os.WriteFile(image, nil, 0o600))
		must(t, os.Truncate(image, 32<<20))
		for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", image}, {"mount", "-o", "loop", image, disk}} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	dir := filepath.Join(disk, "journal")
	j := openTest(t, Options{Dir: dir, SegmentSize: 256 << 10})
	reader, err := OpenReader(dir)
	must(t, err)
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	acked, refused, reopened := 0, 0, 0
	for round := range 100 {
		filler := filepath.Join(disk, "filler")
		fill(t, filler)
		for tries := 0; tries < 3; { // some may fit into the file's last page
			switch err := c.send(j, 20); {
			case err == nil:
				acked++
			case errors.Is(err, syscall.ENOSPC):
				tries++
				refused++
			default:
				t.Fatalf("round %d: %v", round, err)
			}
		}
		checkBodies(t, j, c)
		if round%10 == 0 {
			if n := len(bodies(t, reader.Read)[c.id]); n != int(c.w) {
				t.Fatalf("round %d: a reader sees %d of %d messages", round, n, c.w)
			}
			if rep := audit(t, dir); !rep.OK || rep.Streams[0].W != c.w {
				t.Fatalf("round %d: W %d: %s", round, c.w, rep.String())
			}
		}
		if round%10 == 5 { // the collector dies on the full disk
			kill(t, j)
			j = openTest(t, Options{Dir: dir, SegmentSize: 256 << 10})
			checkBodies(t, j, c)
			reopened++
		}
		must(t, os.Remove(filler))
		if round%10 == 5 {
			w := c.w
			if m, err := c.connect(j); err != nil || m.W != w {
				t.Fatalf("round %d: %+v, %v; want W %d", round, m, err, w)
			}
		}
		must(t, c.send(j, 20)) // at once, by itself
	}
	checkBodies(t, j, c)
	must(t, j.Close())
	if rep := audit(t, dir); !rep.OK || rep.Streams[0].Stored != uint64(c.w) {
		t.Errorf("W %d: %s", c.w, rep.String())
	}
	retainOnAFullDisk(t, disk)
	t.Logf("100 rounds, %d messages; on the full disk %d commits were acked and %d refused, %d openings", c.w, acked, refused, reopened)
}

// retainOnAFullDisk: what retention removes makes the room that is needed.
func retainOnAFullDisk(t *testing.T, disk string) {
	o := Options{Dir: filepath.Join(disk, "kept"), SegmentSize: 64 << 10, MaxBytes: 1 << 30}
	j := openTest(t, o)
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	for range 100 {
		must(t, c.send(j, 50))
	}
	kill(t, j)
	fill(t, filepath.Join(disk, "filler"))
	o.MaxBytes = 256 << 10
	j = openTest(t, o)
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err = c.connect(j); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("retention makes no room: %v", err)
	}
	must(t, c.send(j, 20))
	kept(t, o.Dir, c)
}

// fill takes all that is left of a file system.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	block := make([]byte, 64<<10)
	for n := len(block); n > 0; {
		if _, err := f.Write(block[:n]); errors.Is(err, syscall.ENOSPC) {
			n /= 2
		} else {
			must(t, err)
		}
	}
}
