//go:build !linux

package journal

import "os"

// dataSync makes a file's bytes and its length durable.
func dataSync(f *os.File) error { return f.Sync() }
