package queue

import (
	"fmt"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// keepLetters moves the dead letters of a segment that is about to be deleted
// into a database of their own, in the folder dead, but for those that are
// forgotten. A damaged segment has none that could be moved; a copy of it is in
// quarantine. One that the disk does not read now is an error.
func (fs *files) keepLetters(s segment, now *state) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	i := slices.Index(fs.segs, s)
	if i < 0 {
		return nil
	}
	f, err := fs.handle(i)
	if isNotExist(err) {
		return nil
	}
	var list []letter
	if err == nil {
		list, err = readLetters(f)
		list = slices.DeleteFunc(list, func(l letter) bool { return now.forgot(l.ordinal) })
	}
	if isDamage(err) && !isUnreadable(err) {
		return keepCopy(fs.dir, s.name())
	}
	if err != nil || len(list) == 0 {
		return err
	}
	dir := filepath.Join(fs.dir, deadFolder)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp := filepath.Join(fs.dir, tempPrefix+deadFolder+tempSuffix)
	if err := durable.RemoveFile(temp); err != nil && !isNotExist(err) {
		return err
	}
	d, err := openTail(temp, true)
	if err != nil {
		return err
	}
	err = d.commit(false, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(bucketDead)
		if err != nil {
			return err
		}
		for _, l := range list {
			if err := b.Put(letterKey(&l), appendLetter(nil, &l)); err != nil {
				return fmt.Errorf("dead letter %d: %w", l.n, err)
			}
		}
		return nil
	})
	if cerr := d.close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = durable.RenameFile(temp, filepath.Join(dir, s.name()))
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(dir)
}
