package daemon

import (
	"fmt"
	"os"
	"syscall"
)

// isJournal reports whether f is a stream to systemd's journal: JOURNAL_STREAM names
// its device and inode (systemd.exec(5)).
func isJournal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}
