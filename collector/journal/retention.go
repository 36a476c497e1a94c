package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	keepEvery = time.Minute           // how often the writer looks for what may go
	keepNext  = 50 * time.Millisecond // until the next file goes: commits come between
)

// retention is what is kept; see [Options].
type retention struct {
	age  time.Duration
	size int64
}

// check reports what is wrong with it.
func (r retention) check() error {
	if r.age < 0 || r.size < 0 {
		return fmt.Errorf("retention of %s and %d bytes: set 0 to keep everything, else what to keep", r.age, r.size)
	}
	return nil
}

// SetRetention sets what the journal keeps from now on; see [Options]. What an earlier
// setting has removed does not come back. It may be called at any time.
func (j *Journal) SetRetention(age time.Duration, size int64) error {
	r := retention{age, size}
	if err := r.check(); err != nil {
		return fmt.Errorf("journal in %s: %w", j.opts.Dir, err)
	}
	j.retention.Store(&r)
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return nil
}

// settle takes what SetRetention has set. The writer calls it.
func (j *Journal) settle() {
	r := j.retention.Swap(nil)
	if r == nil {
		return
	}
	j.mu.Lock()
	j.opts.MaxAge, j.opts.MaxBytes = r.age, r.size
	j.opts.SegmentSize = j.opts.segmentSize()
	j.mu.Unlock()
	j.makeNote()
	j.look = time.Time{}
}

// segmentSize is the size at which a new segment is begun: small enough for what is
// kept to be removed in parts.
func (o *Options) segmentSize() int64 {
	if o.MaxBytes > 0 {
		return min(o.wholeSegment, max(o.MaxBytes/8, 1<<20))
	}
	return o.wholeSegment
}

// retains reports whether anything is ever removed from this journal.
func (j *Journal) retains() bool {
	return j.opts.MaxAge > 0 || j.opts.MaxBytes > 0 || j.removed.ordinal > 0
}

// keep looks for what retention no longer keeps and removes it, when it is time
// to, and returns how long until it is the next time; 0: never. The writer calls
// it between commits; at most one file goes in a call.
func (j *Journal) keep(now time.Time) time.Duration {
	j.settle()
	if !j.retains() {
		return 0
	}
	if now.Before(j.look) {
		return j.look.Sub(now)
	}
	j.look = now.Add(keepEvery)
	if age := j.opts.MaxAge; age > 0 {
		j.look = now.Add(max(keepNext, min(keepEvery, age/16)))
	}
	more, err := j.retain(now)
	if more {
		j.look = now.Add(keepNext)
	}
	if err != nil && now.Sub(j.lament) >= 10*time.Minute {
		j.lament = now
		j.log.Error("old segments of the journal could not be removed; it is tried again", "dir", j.opts.Dir, "error", err)
	}
	return j.look.Sub(now)
}

// retain does what keep says. more: there is more to remove.
func (j *Journal) retain(now time.Time) (more bool, err error) {
	err = j.turn(now) // a full disk takes no new segment, and needs the rest all the more
	if n := j.expired(now); n > 0 {
		if err := j.remove(n, now); err != nil {
			return false, err
		}
	}
	if err == nil {
		err = j.letGo(now)
	}
	more, uerr := j.unlink()
	return more, errors.Join(err, uerr)
}

// makeNote makes room for the note of what will be removed, so that removing works
// on a disk that has become full.
func (j *Journal) makeNote() {
	if j.opts.MaxAge <= 0 && j.opts.MaxBytes <= 0 {
		return
	}
	if _, err := os.Stat(filepath.Join(j.opts.Dir, removedName)); err == nil {
		return
	}
	if err := writeRemoval(j.disk, j.opts.Dir, j.identity.Store, &removal{}); err != nil {
		j.log.Warn("no room could be made for the note of what retention removes; it is tried again when there is something to remove", "error", err)
	}
}

// turn begins a new segment when the newest one has become old enough, so that
// what lies in it can go in time: a quarter of MaxAge after it was begun.
func (j *Journal) turn(now time.Time) error {
	if j.opts.MaxAge <= 0 || j.file == nil {
		return nil
	}
	e := j.newest()
	if e.headErr != nil || j.tail.length <= e.head.records() || now.Sub(e.head.created) < j.opts.MaxAge/4 {
		return nil
	}
	return j.create(nil)
}

func (j *Journal) newest() extent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.chain[len(j.chain)-1]
}

// expired returns how many of the oldest segments are not kept any more. The
// newest one always is.
func (j *Journal) expired(now time.Time) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bytes := int64(0)
	for i := range j.chain {
		bytes += j.chain[i].valid
	}
	for i := range j.chain[:len(j.chain)-1] {
		// All in a segment came before the next one was begun.
		next := &j.chain[i+1].head
		old := j.opts.MaxAge > 0 && !next.created.IsZero() && now.Sub(next.created) > j.opts.MaxAge
		large := j.opts.MaxBytes > 0 && bytes > j.opts.MaxBytes
		if !old && !large {
			break
		}
		bytes -= j.chain[i].valid
		if j.chain[i+1].headErr == nil { // its snapshot is what remains of those before it
			n = i + 1
		}
	}
	return n
}

// remove takes the n oldest segments off the journal, once nothing but their data
// goes with them: the newest segment's snapshot was synced before the segment got
// its name, and is read back here (rule 7). The note of it comes before the first
// file goes, so that a crash leaves no gap that nobody can explain.
func (j *Journal) remove(n int, now time.Time) error {
	newest := j.newest()
	if newest.headErr != nil {
		return nil // the next segment will have a head
	}
	h, err := readHead(newest.path)
	if err == nil {
		_, err = readSnapshot(newest.path, &h)
	}
	if err != nil {
		return fmt.Errorf("nothing is removed, because what would remain cannot be read: %w", err)
	}
	j.mu.Lock()
	first, last := j.chain[n].head.first, j.chain[n-1].ordinal
	j.mu.Unlock()
	r := removal{times: j.removed.times + 1, ordinal: last, index: first - 1, at: now}
	if err := writeRemoval(j.disk, j.opts.Dir, j.identity.Store, &r); err != nil {
		return fmt.Errorf("note what is removed: %w", err)
	}
	j.mu.Lock()
	j.chain = j.chain[n:]
	j.removed = r
	j.mu.Unlock()
	j.log.Info("retention removes the journal's oldest segments", "up_to", segmentName(last), "records_up_to", r.index)
	return nil
}

// unlink removes one file that does not count any more.
func (j *Journal) unlink() (more bool, err error) {
	if j.removed.ordinal == 0 {
		return false, nil
	}
	ordinals, err := listSegments(j.opts.Dir)
	if err != nil || len(ordinals) == 0 || ordinals[0] > j.removed.ordinal {
		return false, err
	}
	if err := j.disk.remove(segmentPath(j.opts.Dir, ordinals[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%s: %w", filepath.Base(segmentPath(j.opts.Dir, ordinals[0])), err)
	}
	return true, nil
}
