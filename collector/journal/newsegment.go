package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// create makes a new segment that holds a group, or none if g is nil, behind a
// snapshot of all that came before it.
func (j *Journal) create(g *group) error {
	if err := j.home(); err != nil {
		return fmt.Errorf("new segment: %w", err)
	}
	j.ordinal++          // never used again, whatever becomes of the file
	j.look = time.Time{} // there may be too much now
	state, body := j.state, []byte(nil)
	h := head{version: ledger.SnapshotVersion, store: j.identity.Store, ordinal: j.ordinal, created: time.Now(), prev: j.tail.ordinal, prevLength: j.tail.length,
		first: j.tail.index + 1, before: j.tail.last}
	t := j.tail
	if c := j.carry; c != nil {
		state, body = c.state, c.records
		h.prevLength, h.first, h.before = c.end, c.first, c.before
	}
	if g != nil {
		if len(body) > 0 {
			body = append(body[:len(body):len(body)], g.buf...)
		} else {
			body = g.buf
		}
		t.index, t.last = g.index-1, g.before
	}
	snapshot := state.appendSnapshot(nil)
	h.snapshot, h.crc, h.carried = uint32(len(snapshot)), crc32.Checksum(snapshot, wire.Castagnoli), int64(len(body))
	path := segmentPath(j.opts.Dir, h.ordinal)
	f, err := j.createFile(path, append(h.append(nil), snapshot...), body)
	if err != nil {
		return fmt.Errorf("new segment: %w", err)
	}
	t.ordinal, t.length = h.ordinal, h.records()+int64(len(body))
	if err := j.advance(t, &extent{ordinal: h.ordinal, path: path, head: h}); err != nil {
		f.Close()
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.carry = f, nil
	return nil
}

// createFile writes a segment under a temporary name, syncs it, and only then
// gives it its name.
func (j *Journal) createFile(path string, parts ...[]byte) (f file, err error) {
	temp := path + tempSuffix
	f, err = j.disk.create(temp)
	if err != nil {
		return nil, err
	}
	off := int64(0)
	for _, p := range parts {
		if err == nil && len(p) > 0 {
			_, err = f.WriteAt(p, off)
			off += int64(len(p))
		}
	}
	if err == nil {
		err = j.syncFile(f)
	}
	if e := f.Close(); err == nil { // Windows does not rename an open file
		err = e
	}
	named := false
	if err == nil {
		err = j.disk.rename(temp, path)
		named = err == nil
	}
	if err == nil {
		err = j.disk.syncDir(j.opts.Dir)
	}
	if err == nil {
		f, err = j.disk.open(path)
	}
	if err == nil {
		return f, nil
	}
	if !named {
		path = temp
	}
	// No head names the file and no mark covers it: it is void even if it stays.
	if e := j.disk.remove(path); e != nil && !errors.Is(e, os.ErrNotExist) {
		j.log.Warn("a file of a failed commit stays; it is void", "file", filepath.Base(path), "error", e)
	}
	return nil, err
}
