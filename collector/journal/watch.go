package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What lies in the folder may change under an open journal: a file that was
// deleted takes writes and syncs as before, one that was cut short grows again
// with zeros in it. So each commit looks whether the file it went into is still
// the one under that name, and as long as it should be, before it is answered.

// errChanged marks a folder that another hand has changed.
var errChanged = errors.New("another hand has changed the journal's folder")

// long checks, ahead of a write, that the newest segment was not cut short.
func (j *Journal) long() error {
	info, err := j.file.stat()
	if err != nil {
		return err
	}
	if info.Size() < j.tail.length {
		return fmt.Errorf("%w: %s has %d bytes, %d were synced; restore it from a backup, collector verify says what is missing",
			errChanged, segmentPath(j.opts.Dir, j.tail.ordinal), info.Size(), j.tail.length)
	}
	return nil
}

// inPlace checks, behind a sync, that an open file is what its name leads to.
func inPlace(f file, path string) error {
	open, err := f.stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(path)
	if err == nil && os.SameFile(open, named) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: %s was moved, deleted or replaced while it was open; restore it from a backup", errChanged, path)
}

// home checks, ahead of a new file, that the folder is the one that was opened and
// that its lock is held.
func (j *Journal) home() error {
	now, err := os.Stat(j.opts.Dir)
	if err == nil && os.SameFile(now, j.dir) {
		return j.locked()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: %s was moved, deleted or replaced; nothing is accepted until it is back: put it back, or restore a backup there and start the collector again", errChanged, j.opts.Dir)
}

// locked takes the lock again if its file was deleted. Another collector that has
// it meanwhile is an error: two that write would destroy the journal.
func (j *Journal) locked() error {
	path := filepath.Join(j.opts.Dir, lockName)
	held, err := j.lock.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(path)
	if err == nil && os.SameFile(held, named) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	lock, err := lockDir(j.opts.Dir)
	if err != nil {
		return fmt.Errorf("%w: its lock was deleted, and cannot be taken again: %w", errChanged, err)
	}
	j.log.Warn("the lock of the journal's folder was deleted, and was taken again", "file", path)
	j.lock.Close() // of a file without a name
	j.lock = lock
	return nil
}

// marked checks that the mark has its name, and makes it again if not: readers
// look for it there.
func (j *Journal) marked() error {
	path := filepath.Join(j.opts.Dir, markName)
	if inPlace(j.markFile, path) == nil {
		return nil
	}
	f, err := openMark(j.disk, path)
	if err != nil {
		return err
	}
	j.log.Warn("the mark of what is synced was deleted or replaced, and is made again", "file", path)
	j.markFile.Close() // of a file without a name
	j.markFile = f
	return nil
}
