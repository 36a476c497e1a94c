package main

import (
	"os"

	"golang.org/x/sys/unix"
)

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// dropPages takes a file's clean pages out of the page cache.
func dropPages(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// setAside gives a file the blocks of n bytes from off on.
func setAside(f *os.File, off, n int64) error { return unix.Fallocate(int(f.Fd()), 0, off, n) }
