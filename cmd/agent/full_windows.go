package main

import "golang.org/x/sys/windows"

// What the system says of a full disk, and of a user who has used up a quota.
const (
	errDiskFull = windows.ERROR_DISK_FULL
	errQuota    = windows.ERROR_DISK_QUOTA_EXCEEDED
)
