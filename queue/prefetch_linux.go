package queue

import (
	"os"

	"golang.org/x/sys/unix"
)

// prefetchStep is how much one request may ask for: the system cuts a longer one
// to the read-ahead of the disk, which is 128 KiB where nobody has raised it.
const prefetchStep = 128 << 10

// prefetch asks the system to bring a whole file into its cache, in the
// background: bbolt maps files as read at random, so that a drain would wait for
// the disk at every page. It is a hint; a failure changes nothing.
func prefetch(f *os.File) {
	info, err := f.Stat()
	if err != nil {
		return
	}
	for off := int64(0); off < info.Size(); off += prefetchStep {
		if unix.Fadvise(int(f.Fd()), off, prefetchStep, unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
