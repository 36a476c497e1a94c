//go:build !linux

package daemon

import "os"

// isJournal reports whether f is a stream to systemd's journal.
func isJournal(*os.File) bool { return false }
