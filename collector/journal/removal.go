package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// removal says what retention has removed: it is on disk before the first file
// goes, so a segment that is missing and not named here was lost. The file
// "removed" has two places for it, at offset 0 and 4096, which are written in turn
// and where they lie: that needs no room on a full disk, and one of them is whole
// whatever happens to the other. Numbers are big-endian:
//
//	offset  size  field
//	     0     4  magic "FPG" and the format version, 1
//	     4     4  CRC-32C of the bytes behind
//	     8    16  store id
//	    24     8  how often something was removed: the higher place counts; between
//	              equal ones, after a write that failed, the higher ordinal
//	    32     8  ordinal: this segment and all before it
//	    40     8  index of the last record in them
//	    48     8  when, Unix nanoseconds
type removal struct {
	times   uint64
	ordinal uint64
	index   uint64
	at      time.Time
}

const (
	removalMagic = "FPG\x01"
	removalSize  = 56
	removalPlace = 4096
)

func (r *removal) append(dst []byte, store wire.StoreID) []byte {
	start := len(dst)
	dst = append(dst, removalMagic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, store.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, r.times)
	dst = binary.BigEndian.AppendUint64(dst, r.ordinal)
	dst = binary.BigEndian.AppendUint64(dst, r.index)
	dst = appendTime(dst, r.at)
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], wire.Castagnoli))
	return dst
}

// parseRemoval reads one place.
func parseRemoval(b []byte, store wire.StoreID) (r removal, err error) {
	switch {
	case len(b) < removalSize || string(b[:4]) != removalMagic:
		return r, errors.New("no note of what was removed")
	case binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[8:removalSize], wire.Castagnoli):
		return r, errors.New("a note of what was removed, with a wrong checksum")
	case wire.ID(b[8:24]) != store.ID:
		return r, fmt.Errorf("a note of what store %s has removed, this is %s", wire.ID(b[8:24]), store)
	}
	u := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	return removal{times: u(24), ordinal: u(32), index: u(40), at: parseTime(b[48:])}, nil
}

// readRemoval returns what retention has removed from a folder, zero if nothing.
func readRemoval(dir string, store wire.StoreID) (removal, error) {
	path := filepath.Join(dir, removedName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return removal{}, nil
	}
	if err != nil {
		return removal{}, err
	}
	r, err := parseRemoval(b, store)
	if len(b) > removalPlace {
		if o, oerr := parseRemoval(b[removalPlace:], store); oerr == nil && (err != nil || o.times > r.times || o.times == r.times && o.ordinal > r.ordinal) {
			r, err = o, nil
		}
	}
	if err != nil {
		return removal{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// writeRemoval makes r durable in the place that the note before it is not in.
// After an error the same place is written again.
func writeRemoval(d disk, dir string, store wire.StoreID, r *removal) (err error) {
	path := filepath.Join(dir, removedName)
	f, err := d.open(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		f, err = d.create(path)
	}
	if err != nil {
		return err
	}
	off := int64(r.times%2) * removalPlace
	_, err = f.WriteAt(r.append(nil, store), off)
	if err == nil && fresh {
		_, err = f.WriteAt(r.append(nil, store), removalPlace-off)
	}
	if err == nil {
		err = f.sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil && fresh {
		err = d.syncDir(dir)
	}
	return err
}
