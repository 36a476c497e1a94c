//go:build !windows

package main

import "syscall"

// What the system says of a full disk, and of a user who has used up a quota.
const (
	errDiskFull = syscall.ENOSPC
	errQuota    = syscall.EDQUOT
)
