package lossy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const userEnv = "FIELDPOST_LOSSY_USER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(userEnv); dir != "" {
		if err := use(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(sufferEnv); dir != "" {
		if err := suffer(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// mayMount skips a test where the machine cannot mount. In CI it must.
func mayMount(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must mount, and this machine does not let us: %v, uid %d", err, os.Getuid())
		}
		t.Skip("this machine lacks /dev/fuse or root")
	}
}

// use is what a process does with the disk: each step is checked as it is seen.
func use(dir string) error {
	a := filepath.Join(dir, "a")
	if err := os.Mkdir(a, 0o700); err != nil {
		return err
	}
	path := filepath.Join(a, "x")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 20<<10) // more than one request
	if _, err := f.WriteAt(want, 0); err != nil {
		return err
	}
	// A mapping sees what is written later by other means.
	m, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	if !bytes.Equal(m, want) {
		return fmt.Errorf("the mapping shows other bytes")
	}
	copy(want[5000:], "here")
	if _, err := f.WriteAt([]byte("here"), 5000); err != nil {
		return err
	}
	if !bytes.Equal(m, want) {
		return fmt.Errorf("the mapping does not show what was written")
	}
	if err := unix.Munmap(m); err != nil {
		return err
	}
	if err := f.Truncate(100); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("flock: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(dir, "y")); err != nil {
		return err
	}
	s, err := os.OpenFile(filepath.Join(dir, "y"), os.O_WRONLY|unix.O_DSYNC, 0)
	if err != nil {
		return err
	}
	if _, err := s.WriteAt([]byte("synced"), 0); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "gone"), []byte("not synced"), 0o600); err != nil {
		return err
	}
	for i := range 300 { // more names than one answer holds
		if err := os.WriteFile(filepath.Join(a, fmt.Sprintf("file-%03d", i)), nil, 0o600); err != nil {
			return err
		}
	}
	if list, err := os.ReadDir(a); err != nil || len(list) != 300 || list[299].Name() != "file-299" {
		return fmt.Errorf("the folder lists %d names, %v", len(list), err)
	}
	if err := os.RemoveAll(a); err != nil {
		return err
	}
	if _, err := os.Stat(a); !os.IsNotExist(err) {
		return fmt.Errorf("a folder that was removed: %v", err)
	}
	return nil
}

// TestMount has another process use a mounted disk, cuts the power, and has yet
// another one find what is left.
func TestMount(t *testing.T) {
	mayMount(t)
	d := New(Options{Order: PerFolder}, 1)
	dir := t.TempDir()
	run := func(d *Disk, cmd *exec.Cmd) (string, error) {
		t.Helper()
		m, err := Mount(dir, d)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if e := m.Unmount(); e != nil {
			t.Fatal(e)
		}
		return string(out), err
	}
	user := exec.Command(os.Args[0])
	user.Env = append(os.Environ(), userEnv+"="+dir)
	if out, err := run(d, user); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	counts := d.Counts()
	want := [Events]int{Write: 6, Sync: 2, SyncDir: 1, Create: 302, Mkdir: 1, Rename: 1, Unlink: 302, Resize: 1} // the folder takes two tries
	if counts != want {
		t.Errorf("events %v, want %v", counts, want)
	}
	if out, err := run(d, exec.Command("ls", dir)); err != nil {
		t.Errorf("it cannot be mounted again: %v: %s", err, out)
	}

	d.Cut()
	if out, err := run(d, exec.Command("cat", filepath.Join(dir, "y"))); err == nil || !bytes.Contains([]byte(out), []byte("Input/output error")) {
		t.Errorf("without power a file says %q, %v", out, err)
	}
	lost := 0
	for seed := range uint64(20) {
		kept := filepath.Join(t.TempDir(), "kept")
		img := d.Image(seed)
		if err := img.Dump(kept); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(kept, "y"))
		if text := "synced6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123"; string(b) != text {
			t.Fatalf("seed %d: what was synced is %q, %v", seed, b, err)
		}
		if b, err := os.ReadFile(filepath.Join(kept, "gone")); err != nil || string(b) != "not synced" {
			lost++
		}
	}
	if lost == 0 {
		t.Error("what was not synced was never lost")
	}
	img := d.Image(0)
	if out, err := run(img, exec.Command("head", "-c", "6", filepath.Join(dir, "y"))); err != nil || out != "synced" {
		t.Errorf("the image says %q, %v", out, err)
	}
}

func TestMountThatFailsSaysSo(t *testing.T) {
	if m, err := Mount(filepath.Join(t.TempDir(), "none"), New(Options{}, 1)); err == nil {
		t.Errorf("mounted where there is no folder; unmount: %v", m.Unmount())
	}
}
