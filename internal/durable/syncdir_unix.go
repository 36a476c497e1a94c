//go:build !windows

package durable

import (
	"fmt"
	"os"
)

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	if err := Ahead(DirSync, dir); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// rename renames a file, over one that is there. Only [SyncDir] makes that durable.
func rename(from, to string) error { return os.Rename(from, to) }
