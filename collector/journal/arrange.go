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
	for _, n := range ordinals {
		path := segmentPath(dir, n)
		h, err := readHead(path)
		switch {
		case err != nil: // damaged, or not to be read now
		case h.store != store:
			if err := move(path, path+foreignSuffix); err != nil {
				return done, err
			}
		case h.ordinal != n:
			if err := move(path, path+misplacedSuffix); err != nil {
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

// free returns a path like this one that nothing has.
func free(path string) string {
	for i := 2; ; i++ {
		p := fmt.Sprintf("%s-%d", path, i)
		if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) {
			return p
		}
	}
}
