package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

var (
	// ErrLocked is returned by Open for a folder that another process has open.
	ErrLocked = errors.New("the journal is in use by another process")
	// ErrClosed is returned by all methods of a closed journal.
	ErrClosed = errors.New("the journal is closed")
	// ErrNone is returned for a folder that holds no journal.
	ErrNone = errors.New("no journal here")
	// ErrDamaged marks parts of a journal that cannot be read. Reading goes on
	// behind them; Audit says what was in them.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrRemoved is returned to a reading that retention has overtaken.
	ErrRemoved = errors.New("retention removed segments while they were read; begin again")
	// ErrExists is returned by Backup for a place that is taken.
	ErrExists = errors.New("a backup needs a folder that is not there or is empty")
	// ErrMemory is returned by Open for a journal of which nothing tells any more how
	// far its streams go. A store that went on without that would take again what it
	// has.
	ErrMemory = errors.New("the journal's memory is lost")
	// ErrCursor is returned for a cursor that this journal did not give, or whose
	// place it does not hold any more.
	ErrCursor = errors.New("the cursor does not point into this journal")
)

// Options says how a journal is opened. Only Dir must be set.
type Options struct {
	Dir         string         // the folder; it is made if it is missing
	Logger      *slog.Logger   // nil: slog.Default
	SegmentSize int64          // bytes at which a new segment is begun; 0: 128 MiB. A segment may exceed it by one commit
	Replaces    []wire.StoreID // stores that this one replaces from now on; kept in the folder
	ReplacesAny bool           // it replaces every other store from now on; kept in the folder

	// Retention removes the oldest segments, never the newest one, and of what is
	// known of the streams nothing. By age, all of a segment must be older, by this
	// machine's clock; a message goes at most a quarter of MaxAge later. By bytes,
	// segments are made small enough for an eighth of MaxBytes each, at least 1 MiB.
	MaxAge   time.Duration // how long messages are kept; 0: for ever
	MaxBytes int64         // how large the journal may become, by about a segment; 0: without a limit

	// What the store remembers of agents is bounded, so that none can fill it with
	// inventions. 0: DefaultMaxAgents, DefaultMaxStreams.
	MaxAgents  int // agents that are known, forgotten ones not counted
	MaxStreams int // of one agent; each restored folder and each fork makes one

	wholeSegment int64 // SegmentSize without retention by size

	disk disk          // nil: the real one
	ride time.Duration // 0: rideDelay
}

const defaultSegmentSize = 128 << 20

// The limits of Options.
const (
	DefaultMaxAgents  = 100_000
	DefaultMaxStreams = 4096
)

// Stats are counts since the journal was opened, but for Segments and Bytes.
type Stats struct {
	Segments  int                            // files that count
	Bytes     int64                          // in them
	Commits   uint64                         // groups of transactions that were made durable together
	Records   uint64                         // written
	Syncs     collector.Durations            // fsyncs of segments
	Incidents map[ledger.IncidentKind]uint64 // what happened to agents, as the log has it; of a result the caller's own
}

// Journal is a [collector.Store] in a folder. All methods may be called
// concurrently.
type Journal struct {
	// Set by Open.
	opts      Options
	log       *slog.Logger
	disk      disk
	identity  identityFile
	seed      uint32
	reader    *Reader
	dir       os.FileInfo               // the folder's
	wake      chan struct{}             // something waits
	retention atomic.Pointer[retention] // set, and not yet taken by the writer
	stop      chan struct{}             // closed by Close
	done      chan struct{}             // closed by the writer when it has ended

	// Owned by the writer.
	file     file      // of the newest segment; nil: it is full of doubt, the next commit makes a new one
	markFile file      // of the mark
	lock     *os.File  // of the folder
	tail     mark      // the last good commit
	ordinal  uint64    // the highest that was ever tried
	carry    *carry    // set until the first segment is made after a crash
	failed   time.Time // since when commits fail, zero if they do not
	said     time.Time // when that was logged last
	buf      []byte
	look     time.Time // when to look next for what retention removes
	lament   time.Time // when it was logged last that something could not be removed

	mu      sync.Mutex // guards what follows
	closed  bool
	queue   []*request
	riders  []*request
	state   agents // as of the last good commit; the writer alone changes it
	chain   []extent
	stats   Stats
	removed removal // by retention; the writer alone changes it
	sparse  sparseCache
}

// carry is the last commit of a journal that was not closed: it is written again
// into the next segment, because nothing proves that it is on disk (rule 5).
type carry struct {
	state   agents // before the commit
	records []byte
	end     int64 // where it began in the old segment: the old segment's valid length
	first   uint64
	before  summary
}

// Open opens the journal in a folder, or makes one, and recovers what a crash has
// left. ErrLocked: another process has it open. It reads the newest segment
// only, so the time it takes does not depend on what the journal holds. A disk
// that takes no writes now (it is full, say) is no error: the journal opens,
// every transaction fails until the disk takes writes again, and then it goes on.
func Open(o Options) (*Journal, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := (retention{o.MaxAge, o.MaxBytes}).check(); err != nil {
		return nil, fmt.Errorf("open the journal in %s: %w", o.Dir, err)
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.MaxAgents <= 0 {
		o.MaxAgents = DefaultMaxAgents
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = DefaultMaxStreams
	}
	o.wholeSegment = o.SegmentSize
	o.SegmentSize = o.segmentSize()
	if o.ride <= 0 {
		o.ride = rideDelay
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	if err := durable.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the journal in %s: %w", o.Dir, err)
	}
	j := &Journal{opts: o, log: o.Logger, disk: o.disk, lock: lock,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	if err := j.open(); err != nil {
		j.abandon()
		if j.markFile != nil {
			j.markFile.Close()
		}
		j.lock.Close()
		return nil, fmt.Errorf("open the journal in %s: %w", o.Dir, err)
	}
	go j.write() // Close waits for it
	return j, nil
}

func (j *Journal) open() error {
	dir := j.opts.Dir
	var err error
	if j.dir, err = os.Stat(dir); err != nil {
		return err
	}
	if err := removeTemps(j.disk, dir); err != nil {
		return err
	}
	ordinals, err := listSegments(dir)
	if err != nil {
		return err
	}
	if j.identity, err = openIdentity(&j.opts, j.disk, ordinals); err != nil {
		return err
	}
	j.seed = seed(j.identity.Store)
	moved, err := arrange(j.disk, dir, j.identity.Store)
	for _, what := range moved {
		j.log.Error("a segment stood under another one's name, or was another store's", "dir", dir, "moved", what)
	}
	if err != nil {
		return err
	}
	if ordinals, err = listSegments(dir); err != nil {
		return err
	}
	if j.removed, err = readRemoval(dir, j.identity.Store); err != nil {
		j.log.Error("what retention has removed is not known any more; audit calls it damage", "error", err)
	}
	j.makeNote()
	j.reader = &Reader{dir: dir, identity: j.identity, heads: map[uint64]head{}}
	if j.markFile, err = openMark(j.disk, filepath.Join(dir, markName)); err != nil {
		return err
	}
	return j.recover(ordinals)
}

// removeTemps removes files that never got their name.
func removeTemps(d disk, dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range names {
		if strings.HasSuffix(e.Name(), suffix+tempSuffix) {
			if err := d.remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func openMark(d disk, path string) (file, error) {
	f, err := d.open(path)
	if errors.Is(err, os.ErrNotExist) {
		f, err = d.create(path)
	}
	return f, err
}

// Close commits what waits, marks the journal as cleanly closed, and gives the
// folder free. Its error says that the mark could not be made; nothing is lost by
// that, the next Open only has more to do.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.done
		return ErrClosed
	}
	j.closed = true
	j.mu.Unlock()
	close(j.stop)
	<-j.done
	err := j.closeClean()
	j.abandon()
	if e := j.markFile.Close(); err == nil {
		err = e
	}
	if e := j.lock.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("close the journal in %s: %w", j.opts.Dir, err)
	}
	return nil
}

// closeClean writes the record that says so. Without a trusted file there is
// none: the next Open recovers.
func (j *Journal) closeClean() error {
	if j.file == nil {
		return errors.New("its newest segment has failed; what was answered is safe")
	}
	g := &group{seed: j.seed, state: j.state, staged: agents{}, index: j.tail.index + 1, before: j.tail.last, open: -1}
	g.add(clean{})
	g.seal()
	return j.extend(g)
}

// Stats returns the journal's counts.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Incidents = maps.Clone(s.Incidents)
	for i := range j.chain {
		if !j.chain[i].missing {
			s.Segments++
			s.Bytes += j.chain[i].valid
		}
	}
	return s
}
