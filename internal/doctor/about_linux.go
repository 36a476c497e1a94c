package doctor

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// descriptors returns how many are open in this process, and how many may be.
func descriptors() (open, limit int) {
	open = -1
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		open = len(list) - 1 // without the folder's own
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err == nil && l.Cur < math.MaxInt32 {
		limit = int(l.Cur)
	}
	return open, limit
}

// memory returns how much of it this process has, and how much its service may have.
func memory() (have, limit int64) {
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(b); len(f) > 1 {
			pages, _ := strconv.ParseInt(string(f[1]), 10, 64) // 0: not known
			have = pages * int64(os.Getpagesize())
		}
	}
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return have, 0
	}
	_, path, ok := strings.Cut(strings.TrimSpace(string(group)), "0::")
	if !ok {
		return have, 0
	}
	b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, "memory.max"))
	if err != nil {
		return have, 0
	}
	limit, _ = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max": 0, no limit
	return have, limit
}
