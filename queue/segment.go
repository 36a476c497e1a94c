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

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

// Names inside a segment's database. Beside these buckets stands one for each
// batch, named by the batch's first number in 8 bytes. bbolt keeps a small one
// within the page that names it, and gives a large one pages of its own, which
// are not written again when a neighbour is. The tip of a commit with batches is
// in the bucket of its last one, that of any other commit in its own: the one of
// the newest transaction counts. That, and no bucket around the batches, saves
// two pages in each commit.
var (
	bucketMeta = []byte("meta") // keys head, link, drops
	bucketTip  = []byte("tip")  // key tip
	bucketDead = []byte("dead") // ordinal to dead letter; bucket "input" is in checkpoint.go

	keyHead  = []byte("head")
	keyLink  = []byte("link")
	keyDrops = []byte("drops")
	keyTip   = []byte("tip")
	keyBatch = []byte{0} // in a batch's bucket; keyTip may be beside it
)

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

// compare orders segments from the oldest to the newest.
func (s segment) compare(o segment) int {
	return cmp.Or(cmp.Compare(s.ordinal, o.ordinal), cmp.Compare(s.first, o.first))
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
		if s, ok := parseSegment(name); ok && !e.IsDir() {
			segs = append(segs, s)
		} else if strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix) {
			temps = append(temps, name)
		}
	}
	slices.SortFunc(segs, segment.compare)
	return segs, temps, nil
}

// file is an open segment: a database that the writer appends to, or a file
// that is only read.
type file struct {
	segment
	path string
	os   *os.File    // what db writes to
	info fs.FileInfo // of os, to see that path still names it
	meta metaPage    // what is read; of a database only the page size, and tx, which is the writer's
	size int64       // bytes of the pages in use
	db   *bbolt.DB   // nil: sealed, only read

	arena   []byte        // of the writer: where sound reads to
	synced  time.Duration // of the writer: how long the sync of the last commit took
	spent   bool          // a failed write left bytes in it that nobody was promised
	fetched bool          // batches were read from it, and the system was asked for the rest; guarded by files.mu

	mu   sync.Mutex
	lost error // not nil: the handle must not be used any more
}

// openSealed opens a segment file for reading. An error that [isDamage] means
// that its content is bad.
func openSealed(path string) (*file, error) {
	if err := durable.Ahead(durable.Open, path); err != nil {
		return nil, err
	}
	s, _ := parseSegment(filepath.Base(path))
	f := &file{segment: s, path: path}
	var err error
	if f.os, err = openShared(path); err != nil {
		return nil, err
	}
	var list []metaPage
	if f.info, err = f.os.Stat(); err == nil {
		if list, err = metaPages(f.os); err != nil {
			err = &damage{path, err}
		}
	}
	if err == nil && len(list) == 0 {
		err = &damage{path, fmt.Errorf("of its %d bytes none are a meta page that is whole", f.info.Size())}
	}
	if err != nil {
		f.os.Close()
		return nil, err
	}
	f.meta = list[0]
	f.size = int64(f.meta.high) * f.meta.pageSize
	return f, nil
}

// openTail opens a segment file for appending, and makes it if create is set. Of
// one that is there, the pages that appending reads are looked at before bbolt may
// touch them, for bbolt trusts what it reads. An error that [isDamage] means that its content is bad.
func openTail(path string, create bool) (*file, error) {
	step := durable.Create
	if !create {
		step = durable.Open
		f, err := openSealed(path)
		if err != nil {
			return nil, err
		}
		if err = errors.Join(f.verifyIndex(endless>>2), f.close()); err != nil {
			return nil, err
		}
	}
	if err := durable.Ahead(step, path); err != nil {
		return nil, err
	}
	s, _ := parseSegment(filepath.Base(path))
	f := &file{segment: s, path: path}
	o := bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType, NoStatistics: true, NoSync: true}
	o.OpenFile = func(name string, flag int, mode os.FileMode) (file *os.File, err error) {
		f.os, err = os.OpenFile(name, flag, mode)
		return f.os, err
	}
	err := guard("open "+path, func() (err error) {
		f.db, err = bbolt.Open(path, 0o600, &o)
		return err
	})
	if err == nil {
		f.meta.pageSize = int64(f.db.Info().PageSize)
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

// in runs fn in a read transaction, in which no page of the newest transaction is
// written. It reads nothing but a meta page.
func (f *file) in(fn func(tx *bbolt.Tx) error) error {
	// Without a whole meta page bbolt panics with its locks held, and whoever waits for
	// them at that moment waits for ever.
	list, err := metaPages(f.os)
	if err == nil && len(list) == 0 {
		err = errors.New("none of its meta pages is whole")
	}
	if err != nil {
		err = &damage{f.path, err}
		f.abandon(err)
		return err
	}
	err = guard("read "+f.path, func() error { return f.db.View(fn) })
	if p := (*fault)(nil); errors.As(err, &p) {
		f.abandon(err)
	}
	return err
}

// look notes the number of the newest transaction and the size of the pages in use.
func (f *file) look() error {
	return f.in(func(tx *bbolt.Tx) error {
		f.meta.tx, f.size = tx.ID(), tx.Size()
		return nil
	})
}

// view runs fn with the database as it is after its newest transaction.
func (f *file) view(fn func(t *tree) error) error {
	if err := f.broken(); err != nil {
		return err
	}
	t := tree{src: f.os, what: "segment " + f.path, page: f.meta.pageSize}
	if f.db == nil {
		t.high, t.tx, t.root = f.meta.high, f.meta.tx, f.meta.root
		return fn(&t)
	}
	return f.in(func(tx *bbolt.Tx) error {
		t.tx, t.high, t.root = tx.ID(), uint64(tx.Size()/t.page), uint64(tx.Cursor().Bucket().RootPage())
		return fn(&t)
	})
}

// commit runs fn in a transaction and syncs the file. nil: it is on disk.
// [notStored]: certainly nothing of it is, and the file is as before. Any other
// error: not known, and the file must never be written again but to take the
// transaction back. With proof, the meta page is written only after the sync of
// all others, so that a file which shows the transaction holds it whole.
func (f *file) commit(proof bool, fn func(tx *bbolt.Tx) error) error {
	if err := f.broken(); err != nil {
		return &notStored{err}
	}
	if f.db == nil {
		return &notStored{fmt.Errorf("segment %s is sealed", f.path)}
	}
	if err := durable.Ahead(durable.Write, f.path); err != nil {
		return &notStored{err}
	}
	if f.meta.tx >= firstTx {
		if err := f.sound(); err != nil {
			f.abandon(err)
			return &notStored{err}
		}
	}
	before := f.meta.tx
	f.db.NoSync = !proof
	err := guard("write "+f.path, func() error { return f.db.Update(fn) })
	if p := (*fault)(nil); errors.As(err, &p) {
		f.abandon(err)
		return err
	}
	if lerr := f.look(); lerr != nil {
		return errors.Join(err, lerr)
	}
	if err != nil {
		if f.meta.tx == before && isWrite(err) {
			return &notStored{err}
		}
		return err
	}
	begin := time.Now()
	if err := durable.Ahead(durable.Sync, f.path); err != nil && !sabotage.DeafSync {
		return err
	}
	// The pages and the meta page together: see metapage.go.
	if err := f.db.Sync(); err != nil && !sabotage.DeafSync {
		return fmt.Errorf("sync %s: %w", f.path, err)
	}
	f.synced = time.Since(begin)
	return nil
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
	if f.db == nil {
		return f.os.Close()
	}
	return guard("close "+f.path, f.db.Close)
}

// load reads the head and the whole state.
func (f *file) load() (h head, s state, err error) {
	err = f.view(func(t *tree) error {
		meta, err := t.bucket(bucketMeta)
		if err != nil {
			return err
		}
		tip, err := t.bucket(bucketTip)
		if err != nil {
			return err
		}
		if meta == nil || tip == nil {
			return t.damaged("it lacks its buckets")
		}
		if h, err = meta.head(); err != nil {
			return err
		}
		b, err := meta.get(keyLink)
		if err == nil {
			err = s.parseLink(b)
		}
		if err == nil {
			b, err = meta.get(keyDrops)
		}
		if err == nil {
			err = s.parseDrops(b)
		}
		if err == nil {
			b, err = tip.get(keyTip)
		}
		var of int
		if err == nil {
			of, err = s.parseTip(b)
		}
		if err == nil {
			s.inputs, err = t.readInputs()
		}
		if err == nil && of != t.tx {
			if b, err = t.lastTip(); err == nil && b != nil {
				of, err = s.parseTip(b)
			}
		}
		if err == nil && of != t.tx {
			err = t.damaged("its tip is of transaction %d, its newest transaction is %d", of, t.tx)
		}
		if err != nil {
			return err
		}
		return s.check()
	})
	if err != nil {
		return h, s, fmt.Errorf("%s: %w", f.path, err)
	}
	return h, s, nil
}

// head reads the head from the bucket meta.
func (t *tree) head() (head, error) {
	b, err := t.get(keyHead)
	if err != nil {
		return head{}, err
	}
	return parseHead(b)
}

// readHead reads the head alone.
func (f *file) readHead() (h head, err error) {
	err = f.view(func(t *tree) error {
		meta, err := t.bucket(bucketMeta)
		if err == nil && meta == nil {
			err = t.damaged("it lacks its buckets")
		}
		if err == nil {
			h, err = meta.head()
		}
		return err
	})
	return h, err
}
