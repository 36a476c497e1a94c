package queue

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// rotate commits a change into a new segment, which becomes the tail. The file
// is whole and synced before it gets its name, and the folder is synced after.
// An error that is [ErrUncertain] means that the file may be found later; any
// other, that there is none.
func (q *Queue) rotate(c *change) error {
	if err := q.mend(); err != nil {
		return err
	}
	q.ordinal++
	seg := segment{q.ordinal, c.first()}
	q.reclaim(c, append(q.files.segs[:len(q.files.segs):len(q.files.segs)], seg))
	f, named, err := q.create(seg, c)
	if err != nil && !named && isSpace(err) && !c.spares && q.ballast.release() {
		f, named, err = q.create(seg, c)
	}
	if err != nil {
		if named {
			q.strays = append(q.strays, seg)
			return &uncertain{fmt.Errorf("new segment %s: %w", seg.name(), err)}
		}
		return fmt.Errorf("new segment %s: %w", seg.name(), err)
	}
	q.rotated = time.Now()
	q.rotateAt, q.proven = 0, proven{seg.ordinal, firstTx}
	if old := q.files.tail; old != nil {
		q.weigh(old.segment, old.size)
	}
	q.files.advance(f)
	c.gone = append(c.gone, q.strays...) // of earlier attempts: all in them is here
	q.strays = nil
	q.publish(c)
	return nil
}

// create makes a segment file that holds a change and the whole state. named
// says that the file got its name, whatever failed after that.
func (q *Queue) create(seg segment, c *change) (f *file, named bool, err error) {
	temp := filepath.Join(q.cfg.Dir, tempPrefix+seg.name()+tempSuffix)
	path := q.files.path(seg)
	h := head{agent: q.cfg.Agent, lane: q.cfg.Lane, ordinal: seg.ordinal, first: seg.first, bytes: c.state.bytes,
		made: time.Now(), age: c.state.age, before: q.proven, epoch: c.state.epoch, history: c.state.history}
	for _, b := range c.blocks {
		h.bytes -= uint64(len(b.data))
	}
	if err := durable.RemoveFile(temp); err != nil && !isNotExist(err) {
		return nil, false, err
	}
	defer func() {
		if err != nil && !named {
			durable.RemoveFile(temp) // best effort: Open removes it too
		}
	}()
	f, err = openTail(temp, true)
	if err != nil {
		return nil, false, err
	}
	err = f.commit(false, func(tx *bbolt.Tx) error { return c.write(tx, &h) })
	// Closed before it is renamed: Windows renames no open file.
	if cerr := f.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, false, err
	}
	if err := durable.RenameFile(temp, path); err != nil {
		// Only a name that is certainly not there means that nothing was done: a
		// disk that is failing does not answer this either.
		_, serr := os.Stat(path)
		return nil, !isNotExist(serr), err
	}
	if err := durable.SyncDir(q.cfg.Dir); err != nil {
		return nil, true, err
	}
	took := f.synced
	f, err = openTail(path, false)
	if err != nil { // it is on disk all the same; the next commit goes into another
		q.log.Warn("a new segment was written and cannot be opened", "segment", path, "error", err)
		f = &file{segment: seg, path: path, lost: err}
	}
	f.synced = took
	return f, true, nil
}

// mend makes the lane's folder again if it was taken away as a whole. A folder
// that holds another's segments is left alone.
func (q *Queue) mend() error {
	here, err := os.Stat(filepath.Join(q.cfg.Dir, lockName))
	if err == nil {
		mine, err := q.lock.Stat()
		if err != nil || os.SameFile(here, mine) {
			return err
		}
		if segs, _, err := list(q.cfg.Dir); err != nil || len(segs) > 0 {
			return fmt.Errorf("folder %s was replaced by another while the lane was open; put it back or restart the agent (%w)", q.cfg.Dir, ErrInUse)
		}
	} else if !isNotExist(err) {
		return err
	}
	q.log.Error("the lane's folder was taken away; it is made again", "folder", q.cfg.Dir)
	if err := durable.MkdirAll(q.cfg.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(q.cfg.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := lock(f); err != nil {
		f.Close()
		return err
	}
	q.lock.Close()
	q.lock = f
	q.memo.close() // it is made again with the next commit
	q.ballast.release()
	return nil
}

// reclaim finds the segments that a change makes useless: of every number in
// them it holds an ack or a tombstone, and boundaries and next are in it anyway
// (rule 12). While the store is behind, an ack counts for nothing there (rule 3).
// It moves the oldest held number up. segs ends with the file that
// the change goes into.
func (q *Queue) reclaim(c *change, segs []segment) {
	s := &c.state
	acked := s.acked()
	q.mu.Lock()
	if q.behind > 0 {
		acked = min(acked, q.behind-1)
	}
	q.mu.Unlock()
	c.gone = nil
	oldest, prefix := s.oldest, true
	for i := 0; i+1 < len(segs); i++ {
		next := i + 1
		for next+1 < len(segs) && slices.Contains(q.dubious, segs[next]) {
			next++ // its name may be another's: what it hides may be needed
		}
		end := segs[next].first - 1
		if len(s.gaps(max(segs[i].first, acked+1), end)) > 0 {
			prefix = false
			continue
		}
		c.gone = append(c.gone, segs[i])
		if prefix {
			oldest = max(oldest, min(segs[next].first, acked+1))
		}
	}
	if oldest == s.oldest {
		return
	}
	before, _ := q.files.fingerprint(s, oldest-1)
	link, drops := s.release(oldest, before)
	c.link, c.drops = c.link || link, c.drops || drops
}

// weigh notes the size of a segment that is not the tail.
func (q *Queue) weigh(s segment, size int64) {
	q.older += size - q.sizes[s.ordinal]
	if q.sizes[s.ordinal] = size; size == 0 {
		delete(q.sizes, s.ordinal)
	}
}

// unlink deletes segments that a synced change has made useless. One whose dead
// letters cannot be kept elsewhere stays; the next Open sees it again. One that cannot
// be deleted now is tried again with the next ones, and by the next Open.
func (q *Queue) unlink(gone []segment) {
	if len(gone) == 0 {
		return
	}
	if now := q.snapshot(); now.letters() > 0 {
		for i := 0; i < len(gone); i++ {
			if err := q.files.keepLetters(gone[i], &now); err != nil {
				q.log.Warn("a segment stays because its dead letters cannot be kept elsewhere", "segment", gone[i].name(), "error", err)
				q.files.forget(gone[i : i+1])
				gone = append(gone[:i:i], gone[i+1:]...)
				i--
			}
		}
	}
	q.files.forget(gone)
	q.ballast.again = time.Time{} // there may be room now
	for _, s := range gone {
		q.weigh(s, 0)
	}
	q.mu.Lock()
	gone = append(gone, q.staying...)
	q.staying = nil
	q.mu.Unlock()
	remove := func() {
		for _, s := range gone {
			err := q.removable(s)
			if err == nil {
				err = durable.RemoveFile(q.files.path(s))
			}
			if err != nil && !isNotExist(err) {
				q.log.Warn("a segment that is not needed any more could not be deleted; it is tried again with the next ones", "segment", s.name(), "error", err)
				q.mu.Lock()
				q.staying = append(q.staying, s)
				q.mu.Unlock()
			}
		}
	}
	if q.cfg.MaxBytes > 0 || q.failed() != nil || q.low != nil {
		remove() // the room is needed
		return
	}
	q.removals.Go(remove) // it takes a file system some 20 ms to give 64 MiB back: puts need not wait for that
}

// removable returns an error unless a segment's file is what its name says: another
// may be needed. Of one whose bytes do not tell, a copy is kept; one that the disk does
// not read now is not judged.
func (q *Queue) removable(s segment) error {
	h, err := headOf(q.files.path(s))
	switch {
	case isNotExist(err):
		return nil
	case isDamage(err) && !isUnreadable(err):
		return keepCopy(q.cfg.Dir, s.name())
	case err != nil:
		return err
	case h.ordinal != s.ordinal || h.first != s.first || h.agent != q.cfg.Agent || h.lane != q.cfg.Lane:
		return fmt.Errorf("its head says that it is segment %s of agent %s, lane %s", segment{h.ordinal, h.first}.name(), h.agent, h.lane)
	}
	return nil
}

// readLetters reads all dead letters of a file.
func readLetters(f *file) (list []letter, err error) {
	err = f.view(func(t *tree) error {
		dead, err := t.bucket(bucketDead)
		if err != nil || dead == nil {
			return err
		}
		c, err := dead.floor(nil)
		for err == nil {
			k, v, _, kerr := c.entry()
			if kerr != nil || k == nil {
				return kerr
			}
			l, perr := parseLetter(v)
			if perr == nil && len(k) != 8 {
				perr = t.damaged("a dead letter has a key of %d bytes", len(k))
			}
			if perr != nil {
				return perr
			}
			l.ordinal = binary.BigEndian.Uint64(k)
			list = append(list, l)
			err = c.next()
		}
		return err
	})
	return list, err
}
