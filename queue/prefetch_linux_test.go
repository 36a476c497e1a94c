package queue

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A file that is larger than the disk's read-ahead is asked for as a whole.
func TestPrefetchBringsTheWholeFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 16 << 20
	if _, err := f.Write(bytes.Repeat([]byte("fieldpost"), size/9+1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	cached := func() (pages int) {
		seen := make([]byte, size/os.Getpagesize())
		_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&seen[0])))
		if e != 0 {
			t.Fatal(e)
		}
		for _, s := range seen {
			pages += int(s & 1)
		}
		return pages
	}
	before := cached() // all of it where files lie in memory anyway
	prefetch(f)
	want := size / os.Getpagesize() * 9 / 10
	for end := time.Now().Add(10 * time.Second); cached() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d pages are in the cache, %d were before; want %d", cached(), before, want)
		}
	}
}
