package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	missing := Bad("make it", "it is missing")
	at := func(dir string) Finding {
		c := Folder(dir, missing)
		return one(t, c.Run(t.Context()))
	}
	want(t, at(dir), OK, "can be read")
	want(t, at(filepath.Join(dir, "no")), Fail, "it is missing")
	want(t, at(file), Fail, "is a file", "--dir")
}

func TestDiskSpace(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name   string
		v      volume
		floor  int64
		status []Status
		part   string
	}{
		{"much", volume{free: 50 * gib, total: 100 * gib}, gib, []Status{OK}, "50.0GiB of 100GiB"},
		{"below the floor", volume{free: gib / 2, total: 100 * gib}, gib, []Status{Fail}, "nothing is accepted"},
		{"near the floor", volume{free: gib + 1, total: 100 * gib}, gib, []Status{Warn}, "little"},
		{"no floor, and nearly full", volume{free: 10, total: 100 * gib}, 0, []Status{Fail}, "nothing is accepted"},
		{"no floor, and little", volume{free: 100 << 20, total: 100 * gib}, 0, []Status{Warn}, "little"},
		{"a small disk with half of it free", volume{free: 32 << 20, total: 64 << 20}, 3 << 20, []Status{OK}, "32.0MiB"},
		{"inodes", volume{free: 50 * gib, total: 100 * gib, inodes: 500000, nodes: 1000000}, 0, []Status{OK, OK}, ""},
		{"few inodes", volume{free: 50 * gib, total: 100 * gib, inodes: 400, nodes: 1000000}, 0, []Status{OK, Warn}, ""},
		{"no inodes", volume{free: 50 * gib, total: 100 * gib, inodes: 3, nodes: 1000000}, 0, []Status{OK, Fail}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Disk{stat: func(string) (volume, error) { return c.v, nil }, Floor: func(int64) int64 { return c.floor }}
			list := d.space(t.Context())
			if len(list) != len(c.status) {
				t.Fatalf("%+v", list)
			}
			want(t, list[0], c.status[0], c.part)
			if len(list) > 1 {
				want(t, list[1], c.status[1], "inodes")
			}
		})
	}
	broken := Disk{stat: func(string) (volume, error) { return volume{}, fs.ErrInvalid }}
	want(t, one(t, broken.space(t.Context())), Fail)
	want(t, one(t, broken.fileSystem(t.Context())), Fail)
}

func TestFileSystem(t *testing.T) {
	for _, c := range []struct {
		name   string
		v      volume
		status Status
		part   string
	}{
		{"a disk", volume{kind: "ext4"}, OK, "ext4, writable"},
		{"read-only", volume{kind: "ext4", readOnly: true}, Fail, "read-only"},
		{"a network's", volume{kind: "nfs", network: true}, Warn, "another machine"},
		{"memory", volume{kind: "tmpfs", volatile: true}, Warn, "is memory"},
		{"a container's", volume{kind: "overlay", layered: true}, Warn, "with the container"},
		{"without a journal", volume{kind: "vfat", quirk: "no journal", advice: "move it"}, Warn, "no journal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := Disk{stat: func(string) (volume, error) { return c.v, nil }}
			want(t, one(t, d.fileSystem(t.Context())), c.status, c.part)
		})
	}
	here := Disk{Dir: t.TempDir()}
	if v, err := here.look(); err != nil || v.total == 0 || v.kind == "" {
		t.Errorf("this system's disk: %+v, %v", v, err)
	}
}

// steps is a clock that goes on by one step with each look at it.
func steps(step time.Duration) func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time { now = now.Add(step); return now }
}

func TestFsync(t *testing.T) {
	dir := t.TempDir()
	fine := func(*os.File) error { return nil }
	readOnly := filepath.Join(t.TempDir(), "x")
	os.WriteFile(readOnly, nil, 0o600)
	for _, c := range []struct {
		name   string
		disk   Disk
		status Status
		part   string
	}{
		{"a disk", Disk{Dir: dir, sync: fine, now: steps(time.Millisecond)}, OK, "1ms (p50), 1ms (p99), of 48"},
		{"slow", Disk{Dir: dir, sync: fine, now: steps(60 * time.Millisecond)}, Warn, "that is slow"},
		{"very slow", Disk{Dir: dir, sync: fine, now: steps(900 * time.Millisecond)}, Warn, "of 1: that is slow"},
		{"faster than a disk", Disk{Dir: dir, sync: fine, now: steps(time.Microsecond)}, Warn, "hypervisor"},
		{"it fails", Disk{Dir: dir, sync: func(*os.File) error { return &fs.PathError{Op: "sync", Path: "x", Err: syscall.EIO} }}, Fail, "fsync fails: "},
		{"no file can be made", Disk{Dir: filepath.Join(dir, "no")}, Fail, "no file can be made"},
		{"no rights", Disk{make: func(string) (*os.File, error) { return nil, fs.ErrPermission }}, Warn, "may not write here"},
		{"a file that takes nothing", Disk{make: func(string) (*os.File, error) { return os.Open(readOnly) }}, Fail, "writing fails"},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, one(t, c.disk.speed(t.Context())), c.status, c.part) })
	}
	tail := make([]time.Duration, 48)
	for i := range tail {
		tail[i] = time.Millisecond
	}
	tail[7] = time.Second
	want(t, judgeSpeed(tail), Warn, "now and then")
	real := Disk{Dir: dir}
	if f := one(t, real.speed(t.Context())); f.Status == Fail {
		t.Errorf("this system's disk: %+v", f)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if err := withoutPath(errors.New("x")); err.Error() != "x" {
		t.Error(err)
	}
}
