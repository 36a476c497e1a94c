package queue

import (
	"os"

	"golang.org/x/sys/unix"
)

// prefetch asks the system to bring a whole file into its cache, in the
// background: bbolt maps files as read at random, so that a drain would wait for
// the disk at every page. It is a hint; a failure changes nothing.
func prefetch(f *os.File) { unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_WILLNEED) }
