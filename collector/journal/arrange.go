package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// Suffixes of files that were taken aside. They do not count, and nothing ever
// removes them.
const (
	foreignSuffix   = ".foreign"   // a segment of another store
	misplacedSuffix = ".misplaced" // a segment that stood under the name of another, and whose own is taken
	damagedSuffix   = ".damaged"   // as it was found
)

// arrange puts segments that stand under another one's name back under their own,
// and takes those of another store aside: a segment says in its head which it is.
// A crash in between leaves files that the next call puts right. It returns what
// it did.
func arrange(d disk, dir string, store wire.StoreID) (done []string, err error) {
	ordinals, err := listSegments(dir)
	if err != nil {
		return nil, err
	}
	move := func(from, to string) error {
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			to = free(to)
		}
		if err := d.rename(from, to); err != nil {
			return err
		}
		done = append(done, fmt.Sprintf("%s is %s now", filepath.Base(from), filepath.Base(to)))
		return nil
	}
	firsts := map[uint64]uint64{} // of the segments that say which they are, their first record
	var dumb []uint64             // those whose head is damaged
	for _, n := range ordinals {
		path := segmentPath(dir, n)
		h, err := readHead(path)
		switch {
		case unreadable(err): // now
		case err != nil:
			dumb = append(dumb, n)
		case h.store != store:
			if err := move(path, path+foreignSuffix); err != nil {
				return done, err
			}
		case h.ordinal != n:
			if err := move(path, path+misplacedSuffix); err != nil {
				return done, err
			}
		default:
			firsts[n] = h.first
		}
	}
	for _, n := range dumb {
		path := segmentPath(dir, n)
		first, err := firstRecord(path, store, false)
		if unreadable(err) {
			continue // now; it is met again as it is read
		}
		if err != nil {
			return done, err
		}
		if to := belongs(dir, n, first, firsts); to != path {
			if err := move(path, to); err != nil {
				return done, err
			}
		}
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return done, err
	}
	for _, e := range names {
		if !strings.Contains(e.Name(), suffix+misplacedSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		h, err := readHead(path)
		if err != nil || h.store != store {
			continue
		}
		own := segmentPath(dir, h.ordinal)
		if _, err := os.Lstat(own); !errors.Is(err, fs.ErrNotExist) {
			_, err := readHead(own)
			if err == nil || unreadable(err) {
				continue // a copy
			}
			// What has its name does not say what it is: they were exchanged.
			stood := filepath.Join(dir, e.Name()[:len(segmentName(1))])
			if err := move(own, stood); err != nil {
				return done, err
			}
		}
		if err := move(path, own); err != nil {
			return done, err
		}
	}
	if len(done) > 0 {
		err = d.syncDir(dir)
	}
	return done, err
}

// belongs returns the path of a segment whose head is damaged, and which stands under
// the ordinal n: its own, unless its first record that can be read comes before those
// of a segment below it. Then it is that of the one ordinal that is free where the
// record belongs, or none of a segment's.
func belongs(dir string, n, first uint64, firsts map[uint64]uint64) string {
	path := segmentPath(dir, n)
	below, above := uint64(0), n
	for ordinal, its := range firsts {
		if its > first {
			above = min(above, ordinal)
		}
	}
	if first == 0 || above == n {
		return path
	}
	for ordinal := range firsts {
		if ordinal < above {
			below = max(below, ordinal)
		}
	}
	if own := segmentPath(dir, below+1); below+2 == above {
		if _, err := os.Lstat(own); errors.Is(err, fs.ErrNotExist) {
			return own
		}
	}
	return path + misplacedSuffix
}

// free returns a path like this one that nothing has.
func free(path string) string {
	for i := 2; ; i++ {
		p := fmt.Sprintf("%s-%d", path, i)
		if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) {
			return p
		}
	}
}
