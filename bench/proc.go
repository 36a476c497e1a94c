package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a process has used since it began.
type usage struct {
	CPU     time.Duration // user and system; in steps of 10 ms
	Written int64         // bytes handed to write(2) and its kin
	Read    int64         // bytes that had to come from the disk
}

func (u usage) since(before usage) usage {
	return usage{u.CPU - before.CPU, u.Written - before.Written, u.Read - before.Read}
}

// usageOf reads what a process has used.
func usageOf(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name in parentheses may hold anything; fields are counted behind it.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * 10 * time.Millisecond
	}
	if u.Written, err = procValue(pid, "io", "wchar:"); err != nil {
		return u, err
	}
	u.Read, err = procValue(pid, "io", "read_bytes:")
	return u, err
}

// anonymous returns how many bytes of memory a process holds that no file backs.
func anonymous(pid int) (int64, error) {
	kib, err := procValue(pid, "status", "RssAnon:")
	return kib << 10, err
}

// resident returns how many bytes of memory a process holds, mapped files included.
func resident(pid int) (int64, error) {
	kib, err := procValue(pid, "status", "VmRSS:")
	return kib << 10, err
}

func procValue(pid int, file, key string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == key {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, key)
}

// peak watches the anonymous memory of processes until stop is called, which
// returns the most that each has had.
func peak(pids ...int) (stop func() []int64) {
	most := make([]int64, len(pids))
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			for i, pid := range pids {
				if n, err := anonymous(pid); err == nil { // else it has ended
					most[i] = max(most[i], n)
				}
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() []int64 {
		close(end)
		<-ended
		return most
	}
}

// diskUse returns the bytes that are set aside on disk for files below a folder.
func diskUse(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return n, err
}

// evict takes all files below a folder out of the page cache. They are synced:
// dirty pages would stay.
func evict(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return dropPages(f)
	})
}
