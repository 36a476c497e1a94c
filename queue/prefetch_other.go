//go:build !linux

package queue

import "os"

// prefetch does nothing: only Linux is told what will be read.
func prefetch(*os.File) {}
