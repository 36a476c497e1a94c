package lossy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const sufferEnv = "FIELDPOST_LOSSY_SUFFERER"

// suffering is what a process does with the file at a path, so that one kind of
// operation occurs. Each is done three times: before, while, and after it fails.
var suffering = map[Kind]func(path string) error{
	OpLookup: func(path string) error { _, err := os.Lstat(path); return err },
	OpStat: func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("not this one: %v", err)
		}
		defer f.Close()
		_, err = f.Stat()
		return err
	},
	OpOpen: func(path string) error {
		f, err := os.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	},
	OpCreate: func(path string) error {
		os.Remove(path)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err == nil {
			f.Close()
		}
		return err
	},
	OpRead: func(path string) error {
		_, err := os.ReadFile(path)
		return err
	},
	OpWrite: func(path string) error {
		return with(path, func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 9); return err })
	},
	OpSync:    func(path string) error { return with(path, (*os.File).Sync) },
	OpSyncDir: func(path string) error { os.Remove(path); os.Mkdir(path, 0o700); return with(path, (*os.File).Sync) },
	OpClose: func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("not this one: %v", err)
		}
		return f.Close()
	},
	OpRename: func(path string) error {
		if err := os.WriteFile(path+"-old", nil, 0o600); err != nil {
			return fmt.Errorf("not this one: %v", err)
		}
		return os.Rename(path+"-old", path)
	},
	OpUnlink: func(path string) error { err := os.Remove(path); os.WriteFile(path, nil, 0o600); return err },
	OpMkdir:  func(path string) error { os.Remove(path); return os.Mkdir(path, 0o700) },
	OpResize: func(path string) error { return os.Truncate(path, 5) },
	OpRoom:   func(path string) error { var room unix.Statfs_t; return unix.Statfs(path, &room) },
	OpList: func(path string) error {
		os.Remove(path)
		os.Mkdir(path, 0o700)
		_, err := os.ReadDir(path)
		return err
	},
}

func with(path string, do func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, syscall.EISDIR) {
		f, err = os.Open(path)
	}
	if err != nil {
		return fmt.Errorf("not this one: %v", err)
	}
	defer f.Close()
	return do(f)
}

// suffer meets each kind of failure once.
func suffer(dir string) error {
	for k := range Kind(Kinds) {
		at := filepath.Join(dir, k.String())
		if k == OpPageIn {
			continue // mapped
		}
		if err := os.WriteFile(at, bytes.Repeat([]byte("x"), 3*pageSize), 0o600); err != nil {
			return err
		}
		for try, want := range []error{nil, syscall.EIO, nil} {
			if try == 1 {
				os.WriteFile(filepath.Join(dir, "arm"), nil, 0o600)
			}
			err := suffering[k](at)
			if !errors.Is(err, want) {
				return fmt.Errorf("%s, try %d: %v, want %v", k, try+1, err, want)
			}
			os.Remove(filepath.Join(dir, "arm"))
			time.Sleep(Insisting)
		}
	}
	return mapped(dir)
}

// mapped touches a page of a mapped file that cannot be read.
func mapped(dir string) error {
	at := filepath.Join(dir, OpPageIn.String())
	if err := os.WriteFile(at, bytes.Repeat([]byte("x"), 3*pageSize), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 3*pageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	touch := func(page int) (b byte, fault any) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { fault = recover() }()
		return m[page*pageSize], nil
	}
	arm := func() { os.WriteFile(filepath.Join(dir, "arm"), nil, 0o600) }
	if b, fault := touch(0); b != 'x' || fault != nil {
		return fmt.Errorf("page 0: %q, %v", b, fault)
	}
	arm()
	if b, fault := touch(0); b != 'x' || fault != nil {
		return fmt.Errorf("page 0 is in memory, and says %q, %v", b, fault)
	}
	if _, fault := touch(1); fault == nil {
		return errors.New("page 1 was read in spite of the failure")
	}
	os.Remove(filepath.Join(dir, "arm"))
	time.Sleep(Insisting)
	if b, fault := touch(1); b != 'x' || fault != nil {
		return fmt.Errorf("page 1, once the failure is gone: %q, %v", b, fault)
	}
	if _, err := f.WriteAt([]byte("y"), pageSize); err != nil {
		return err
	}
	if b, fault := touch(1); b != 'y' || fault != nil {
		return fmt.Errorf("page 1, written: %q, %v", b, fault)
	}
	if _, err := f.WriteAt([]byte("z"), pageSize); err != nil {
		return err
	}
	arm()
	if _, fault := touch(1); fault == nil {
		return errors.New("a page that was written is not read again")
	}
	return nil
}

// TestFaultsReachTheProcess has another process meet each kind of failure: once,
// where it is meant to be.
func TestFaultsReachTheProcess(t *testing.T) {
	mayMount(t)
	d := New(Options{}, 1)
	dir := t.TempDir()
	m, err := MountUncached(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	armed, failed := false, [Kinds]int{}
	var last Op
	var again time.Time // until then the last failure is repeated
	d.Watch(func(op Op) Fault {
		switch base := path.Base(op.Path); {
		case base == "arm" && op.Kind == OpCreate:
			armed = true
		case armed && base == op.Kind.String():
			armed, last = false, op
			failed[op.Kind]++
			again = time.Now().Add(Insisting)
			return Fault{Errno: syscall.EIO}
		case op == last && op.Kind.Insists() && time.Now().Before(again):
			return Fault{Errno: syscall.EIO}
		}
		return Fault{}
	})
	user := exec.Command(os.Args[0])
	user.Env = append(os.Environ(), sufferEnv+"="+dir)
	out, err := user.CombinedOutput()
	if e := m.Unmount(); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for k, n := range failed {
		want := 1
		if Kind(k) == OpPageIn {
			want = 2
		}
		if n != want {
			t.Errorf("%s has failed %d times, want %d", Kind(k), n, want)
		}
	}
}

// TestWhatASyncLosesIsReadUntilThePowerGoes: page cache after a failed write-back.
func TestWhatASyncLosesIsReadUntilThePowerGoes(t *testing.T) {
	lost := 0
	for seed := range uint64(20) {
		k := newKernel(t, Options{Order: Journaled, OwnName: Always}, seed)
		file := k.create(root, "x")
		k.ok(k.write(file, "old"))
		k.ok(k.sync(file))
		k.ok(k.write(file, "new"))
		fail := true
		k.f.d.Watch(func(op Op) Fault {
			if op.Kind == OpSync && op.Path == "/x" && fail {
				fail = false
				return Fault{Errno: syscall.EIO}
			}
			return Fault{}
		})
		if s := k.sync(file); s.Ok() {
			t.Fatal("the sync has not failed")
		}
		k.ok(k.sync(file))
		seen := make([]byte, 3)
		k.f.d.nodes[file].content.read(seen, 0)
		if string(seen) != "new" {
			t.Fatalf("seed %d: read %q after the sync that failed", seed, seen)
		}
		img := k.f.d.Image(seed)
		img.nodes[file].content.read(seen, 0)
		if string(seen) == "old" {
			lost++
		}
	}
	if lost < 4 || lost > 16 {
		t.Errorf("lost by %d syncs of 20, want about half", lost)
	}
}

// TestAFaultCanComeAfterTheDeed: done, and answered with an error.
func TestAFaultCanComeAfterTheDeed(t *testing.T) {
	k := newKernel(t, Options{}, 1)
	k.mkdir(root, "d")
	k.f.d.Watch(func(op Op) Fault { return Fault{Errno: syscall.ENOSPC, Done: op.Path == "/done"} })
	for _, name := range []string{"done", "not"} {
		if errno := k.f.d.change(Mkdir, k.f.d.faulty(OpMkdir, root, name, func() syscall.Errno {
			n := k.f.d.node(syscall.S_IFDIR)
			k.f.d.rename(change{file: n.number, to: place{root, name}})
			return 0
		})); errno != syscall.ENOSPC {
			t.Errorf("%s: %v", name, errno)
		}
		if _, there := k.f.d.nodes[root].seen[name]; there != (name == "done") {
			t.Errorf("%s: there is %t", name, there)
		}
	}
}
