package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldpost/fieldpost/wire"
)

// Names inside a segment's database. A suffix ".0" is the index of a stream:
// a lane has one today, and a file with several would hold ".1" beside it.
var (
	bucketMeta    = []byte("meta")      // keys head, link.0, drops.0
	bucketTip     = []byte("tip")       // key tip.0; apart, so that a commit rewrites little
	bucketBatches = []byte("batches.0") // first number to batch
	bucketDead    = []byte("dead")      // epoch and number to dead letter

	keyHead  = []byte("head")
	keyLink  = []byte("link.0")
	keyDrops = []byte("drops.0")
	keyTip   = []byte("tip.0")
	keyBig   = []byte{0} // the one key of a nested bucket
)

// nested is the size from which a batch is alone in a bucket of its own: a
// smaller one shares a leaf page, a larger one there would be written again
// together with its neighbours.
const nested = 2 << 10

const (
	segmentSuffix = ".seg"
	tempPrefix    = "new-"
	tempSuffix    = ".tmp"
	lockName      = "lock"
	ballastName   = "ballast"
	quarantine    = "quarantine"
	deadFolder    = "dead"
)

// lockWait is how long bbolt may wait for its own lock of a file. The lane's
// lock file keeps other queues out, so only a reader of files can be in the way.
const lockWait = time.Second

// segment is a segment file by its name.
type segment struct {
	ordinal uint64
	first   wire.Seq
}

func (s segment) name() string {
	return fmt.Sprintf("%010d-%020d%s", s.ordinal, uint64(s.first), segmentSuffix)
}

func parseSegment(name string) (s segment, ok bool) {
	base, ok := strings.CutSuffix(name, segmentSuffix)
	ordinal, first, ok2 := strings.Cut(base, "-")
	if !ok || !ok2 {
		return s, false
	}
	o, err := strconv.ParseUint(ordinal, 10, 64)
	n, err2 := strconv.ParseUint(first, 10, 64)
	s = segment{o, wire.Seq(n)}
	return s, err == nil && err2 == nil && s.first > 0 && s.name() == name
}

// list returns the segments and the leftover temporary files of a folder.
func list(dir string) (segs []segment, temps []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if s, ok := parseSegment(name); ok {
			segs = append(segs, s)
		} else if strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix) {
			temps = append(temps, name)
		}
	}
	slices.SortFunc(segs, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(a.first, b.first))
	})
	return segs, temps, nil
}

// file is an open segment.
type file struct {
	segment
	path string
	db   *bbolt.DB
	os   *os.File    // what db writes to
	info fs.FileInfo // of os, to see that path still names it
	tx   int         // id of the last good transaction
	size int64       // bytes of the pages in use

	fetched bool // batches were read from it, and the system was asked for the rest; guarded by files.mu

	mu   sync.Mutex
	lost error // not nil: the handle must not be used any more
}

// openFile opens a segment file, or makes one if path does not exist and create
// is set. An error that [isDamage] means that its content is bad.
func openFile(path string, create, readOnly bool) (*file, error) {
	s, _ := parseSegment(filepath.Base(path))
	f := &file{segment: s, path: path}
	if info, err := os.Stat(path); err != nil {
		if !create {
			return nil, err
		}
	} else if info.Size() == 0 { // bbolt would make a fresh database of it
		return nil, &damage{path, errors.New("the file is empty")}
	}
	o := bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly, NoStatistics: true}
	o.OpenFile = func(name string, flag int, mode os.FileMode) (file *os.File, err error) {
		f.os, err = os.OpenFile(name, flag, mode)
		return f.os, err
	}
	err := guard("open "+path, func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &o)
		return err
	})
	if err == nil {
		if f.info, err = f.os.Stat(); err == nil {
			err = f.look()
		}
		if err == nil {
			return f, nil
		}
	}
	f.abandon(err)
	if isDamage(err) {
		return nil, &damage{path, err}
	}
	return nil, fmt.Errorf("segment %s: %w", path, err)
}

// look reads the id of the newest transaction and the size of the pages in use.
func (f *file) look() error {
	return f.view(func(tx *bbolt.Tx) error {
		f.tx, f.size = tx.ID(), tx.Size()
		return nil
	})
}

// view runs fn in a read transaction. After a fault the handle is lost.
func (f *file) view(fn func(tx *bbolt.Tx) error) error {
	if err := f.broken(); err != nil {
		return err
	}
	err := guard("read "+f.path, func() error { return f.db.View(fn) })
	if p := (*fault)(nil); errors.As(err, &p) {
		f.abandon(err)
	}
	return err
}

// commit runs fn in a transaction. nil: it is on disk. [notStored]: certainly
// nothing of it is, and the file is as before. Any other error: not known, and
// the file must never be written again.
func (f *file) commit(fn func(tx *bbolt.Tx) error) error {
	if err := f.broken(); err != nil {
		return &notStored{err}
	}
	before := f.tx
	err := guard("write "+f.path, func() error { return f.db.Update(fn) })
	if p := (*fault)(nil); errors.As(err, &p) {
		f.abandon(err)
		return err
	}
	if lerr := f.look(); lerr != nil {
		return errors.Join(err, lerr)
	}
	if err != nil && f.tx == before && isWrite(err) {
		return &notStored{err}
	}
	return err
}

// linked reports an error unless the file's path still names it: bytes written
// to a file that was deleted are gone with the process.
func (f *file) linked() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("the segment was taken away under the lane: %w", err)
	}
	if !os.SameFile(info, f.info) {
		return fmt.Errorf("segment %s was replaced by another file", f.path)
	}
	return nil
}

// abandon gives a handle up without closing the database, which could wait for
// ever; only its descriptor goes, and bbolt's lock.
func (f *file) abandon(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost == nil {
		f.lost = fmt.Errorf("segment %s is not used any more: %w", f.path, cause)
		if f.os != nil {
			release(f.os)
			f.os.Close() // nothing is written through it, so nothing can fail to be
		}
	}
}

// broken returns why the handle must not be used, nil if it may be.
func (f *file) broken() error {
	if f == nil {
		return errors.New("no segment is open")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// close closes a healthy handle.
func (f *file) close() error {
	f.mu.Lock()
	lost := f.lost != nil
	if !lost {
		f.lost = fmt.Errorf("segment %s is closed: %w", f.path, fs.ErrClosed)
	}
	f.mu.Unlock()
	if lost {
		return nil
	}
	return guard("close "+f.path, f.db.Close)
}

// load reads the head and the whole state.
func (f *file) load() (h head, s state, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		meta, tip := tx.Bucket(bucketMeta), tx.Bucket(bucketTip)
		if meta == nil || tip == nil {
			return &damage{"database", errors.New("it lacks its buckets")}
		}
		var err error
		if h, err = parseHead(meta.Get(keyHead)); err != nil {
			return err
		}
		if err = s.parseLink(meta.Get(keyLink)); err != nil {
			return err
		}
		if err = s.parseDrops(meta.Get(keyDrops)); err != nil {
			return err
		}
		if err = s.parseTip(tip.Get(keyTip)); err != nil {
			return err
		}
		return s.check()
	})
	if err != nil {
		return h, s, fmt.Errorf("%s: %w", f.path, err)
	}
	return h, s, nil
}
