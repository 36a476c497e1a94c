//go:build !windows

package doctor

import (
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// modesCount: a file's mode says who may do what.
const modesCount = true

func uidOf(info fs.FileInfo) (uint32, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Uid, true
}

// ownerText names the owner of a file.
func ownerText(info fs.FileInfo) string {
	uid, ok := uidOf(info)
	if !ok {
		return "its owner"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

func sameOwner(a, b fs.FileInfo) bool {
	x, ok := uidOf(a)
	y, too := uidOf(b)
	return !ok || !too || x == y
}

// ownedBy reports whether a file belongs to an account.
func ownedBy(info fs.FileInfo, account string) (is, known bool, err error) {
	u, err := user.Lookup(account)
	if err != nil {
		return false, false, err
	}
	uid, ok := uidOf(info)
	return ok && strconv.FormatUint(uint64(uid), 10) == u.Uid, ok, nil
}

// mine reports whether a file belongs to who runs this.
func mine(info fs.FileInfo) bool {
	uid, ok := uidOf(info)
	return ok && int(uid) == os.Geteuid()
}

// others says nothing here: modes do.
func others(string) (read, write bool, err error) { return false, false, nil }
