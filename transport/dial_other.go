//go:build !linux

package transport

import "syscall"

// limitUnsent does nothing where the kernel has no such limit.
func limitUnsent(_, _ string, _ syscall.RawConn) error { return nil }
