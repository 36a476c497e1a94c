package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Limits and defaults.
const (
	DefaultSegmentSize = 64 << 20               // bytes of a segment file
	DefaultAckDelay    = 200 * time.Millisecond // how long an ack waits for company
	MaxPut             = 64 << 20               // bytes of the records of one Put

	minSegmentSize = 64 << 10
	maxWaiting     = 8 << 20   // bytes of records that wait for the writer
	batchTarget    = 256 << 10 // bytes of records packed into one batch
	maxRecent      = 8 << 20   // bytes of batches kept in memory after their commit
	maxRefusals    = 100       // refused numbers in a row that stop the lane (rule 10)
)

// Config says which lane to open and how. Agent, Lane and Dir are needed.
type Config struct {
	Dir         string        // the lane's folder; Open creates it (0700)
	Agent       wire.AgentID  // whose lane it is; a folder of another agent is refused
	Lane        wire.Lane     // the lane's name; likewise
	SegmentSize int64         // bytes of a segment file, 0: 64 MiB, at least 64 KiB; one large Put may make one larger
	LiveFirst   time.Duration // of OpenLane: after an outage longer than this new messages go ahead of those that have piled up, 0: never
	Codec       wire.Codec    // how batches are compressed; one that does not get smaller is left as it is
	MaxBytes    int64         // bytes the lane's files may take, 0: no limit, at least 512 KiB; segments are an eighth of it at most
	MaxMessages uint64        // messages the lane may hold that no store has acked, 0: no limit
	MaxAge      time.Duration // a batch whose newest message has waited longer is dropped, 0: never
	FreeSpace   int64         // bytes of the disk that stay free, 0: 5 % of it, at most 512 MiB; negative: it may be filled
	Overflow    Overflow      // what becomes of a message there is no room for
	Interval    time.Duration // 0: Put returns after the sync. Else it returns at once, a sync follows within this time, and a crash loses what it would have covered
	AckDelay    time.Duration // how long an ack may wait for a commit to ride with before it is committed alone, 0: 200 ms
	Synced      func()        // called after every commit that shows something new; must not block; may be nil
	Logger      *slog.Logger  // nil: discards

	strand *strand // of a lane's stream
}

// Queue is one open lane. All methods may be called concurrently, except where
// they say otherwise.
type Queue struct {
	// Static after Open, but for the settings in cfg that reconfigure names: the writer
	// changes them, with mu held, so others read them with mu held.
	cfg    Config
	copied atomic.Pointer[Config]
	log    *slog.Logger
	files  *files
	wake   chan struct{}
	ended  chan struct{} // closed when the writer has returned

	// Owned by the writer.
	lock       *os.File
	stuck      *change       // uncertain: goes before anything else (rule 5)
	retryAt    time.Time     // when stuck is tried again
	backoff    time.Duration // before the try after that
	rotated    time.Time     // when the tail was begun
	rotateAt   int64         // size of the tail at which a failed rotation is tried again
	ordinal    uint64        // of the newest file, named or tried
	proven     proven        // the newest commit that is known to be on disk
	strays     []segment     // files of rotations that failed after the rename
	doubted    bool          // a sync failed in this process: no clean mark
	ballast    ballast       // for a full disk
	memo       memoFile      // of the newest segment, beside it
	clock      clock         // the lane's age
	expireAt   time.Time     // when to look for what is too old
	looked     time.Time     // when the disk's free space was asked for
	parked     *group        // it found no room and is tried again
	parkedTill time.Time
	forgone    uint64           // messages of an interval that could not be stored at the end
	dubious    []segment        // whose heads could not be read when that was last looked at
	sizes      map[uint64]int64 // by ordinal, of the segments before the tail
	older      int64            // their sum
	stale      int              // welcomes in a row that answered a hello which was too old to decide by
	raw        []byte           // scratch: the records of one batch
	packed     []byte           // scratch: one batch, while it is compressed
	shelf      shelf            // which dead letters are kept
	removals   sync.WaitGroup   // of files that are deleted behind the writer's back
	closeErr   error            // read after ended

	mu           sync.Mutex
	shown        state         // what is committed; the only thing readers see (rule 6)
	recent       ring          // what was committed last, for Next
	waiting      *group        // puts that the writer has not taken
	last         *group        // the newest group
	flushAt      time.Time     // with an interval: when waiting is taken
	taken        load          // of the group that is being written
	used         int64         // bytes of the lane's files
	low          error         // why the lane must not grow
	roomAsked    chan struct{} // closed when there may be room; nil if nobody asks
	ops          []*op
	pending      mark // an ack that is not committed
	ackAt        time.Time
	ackMoved     chan struct{} // closed when pending moves; nil if nobody asks
	staying      []segment     // not needed any more, and could not be deleted
	refusals     int
	stopped      bool // by refusals
	welcomed     bool
	behind       wire.Seq // from here on the store lacks what had been acked, 0: it does not
	asked        asked
	announceable wire.Seq // Next of the last resume
	handed       wire.Seq // what is above it has certainly not reached the store as data
	burying      span     // of the change that is being committed: numbers that get a tombstone
	burials      uint64   // drops begun
	sure         []span   // of tombstones that are certain, which is not yet committed
	versions     uint64   // the highest of a checkpoint
	closing      bool
	failing      error // why the lane accepts nothing at the moment
	commits      uint64
	syncs        SyncTimes
	ackedTop     wire.Seq // up to which acks are counted
	ackedCount   uint64
	oldestTime   stamp
}

// stamp is the time of a message, remembered.
type stamp struct {
	n    wire.Seq
	time time.Time
}

// op is a durable step other than a put; run changes c, and the writer commits it
// unless run returns false or an error.
type op struct {
	run  func(c *change) (commit bool, err error)
	done chan error
}

// Open opens a lane for appending, and creates it if the folder is missing or
// empty. Unless the lane was closed in order it writes the last commit again where
// it is; it begins a new incarnation, in a new segment if so, and returns when all
// that is on disk (rules 1 and 5). ctx bounds only Open.
//
// Errors: [ErrInUse], [ErrForeign], [ErrNotAQueue], or one of the system. A
// damaged file is no error: what it still has is taken over, a copy is kept in
// the folder quarantine, and the log says so.
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q := &Queue{
		cfg:     cfg,
		log:     cfg.Logger.With("lane", string(cfg.Lane)),
		files:   &files{dir: cfg.Dir, lane: cfg.Lane, agent: cfg.Agent},
		ballast: ballast{path: filepath.Join(cfg.Dir, ballastName)},
		sizes:   map[uint64]int64{},
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
	q.copySettings()
	q.files.elsewhere = q.cfg.elsewhere
	if err := q.recover(ctx); err != nil {
		q.files.close()
		q.memo.close()
		if q.lock != nil {
			q.lock.Close()
		}
		return nil, fmt.Errorf("queue %s: %w", cfg.Dir, advise(cfg.Dir, err))
	}
	q.ackedTop = q.shown.acked()
	go q.write() // Close waits for it
	return q, nil
}

func (cfg *Config) check() error {
	if err := wire.CheckName("agent id", string(cfg.Agent)); err != nil {
		return err
	}
	if err := wire.CheckName("lane", string(cfg.Lane)); err != nil {
		return err
	}
	if err := cfg.limits(); err != nil {
		return err
	}
	switch {
	case cfg.Dir == "":
		return errors.New("config without a folder")
	case cfg.SegmentSize == 0:
		cfg.SegmentSize = DefaultSegmentSize
	case cfg.SegmentSize < minSegmentSize:
		return fmt.Errorf("segment size of %d bytes, the least is %d", cfg.SegmentSize, minSegmentSize)
	}
	if cfg.MaxBytes > 0 && cfg.SegmentSize > cfg.MaxBytes/8 {
		cfg.SegmentSize = cfg.MaxBytes / 8 // room comes back by whole files
	}
	if cfg.AckDelay <= 0 {
		cfg.AckDelay = DefaultAckDelay
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Close refuses new puts, commits what was handed in, and the acks, and writes
// the mark that makes the next Open cheap. It returns the first thing that
// failed; the folder is released in any case. A second Close waits for the first
// and returns the same.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closing = true
	q.mu.Unlock()
	q.kick()
	<-q.ended
	return q.closeErr
}

// Flush waits until a store has acked everything that was accepted when Flush
// was called. It returns ctx's error, or [ErrClosed].
func (q *Queue) Flush(ctx context.Context) error {
	if err := q.sync(ctx); err != nil {
		return err
	}
	q.mu.Lock()
	target := q.shown.next - 1
	for q.settled() < target {
		if q.ackMoved == nil {
			q.ackMoved = make(chan struct{})
		}
		moved := q.ackMoved
		q.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-q.ended:
			return ErrClosed
		}
		q.mu.Lock()
	}
	q.mu.Unlock()
	return nil
}

// acked returns the largest number acked, committed or not. mu is held.
func (q *Queue) acked() wire.Seq { return max(q.shown.acked(), q.pending.upto) }

// countAcked counts what has been acked since it was last called. mu is held.
func (q *Queue) countAcked() {
	if a := q.acked(); a > q.ackedTop {
		q.ackedCount += uint64(a - q.ackedTop)
		q.ackedTop = a
	}
}

// settled is the largest number up to which the store has everything: what is
// acked, unless a welcome has shown that the store was set back (rule 3). The
// caller holds mu.
func (q *Queue) settled() wire.Seq {
	if q.behind > 0 {
		return min(q.acked(), q.behind-1)
	}
	return q.acked()
}

// snapshot returns the committed state.
func (q *Queue) snapshot() state {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.shown
}

// kick wakes the writer.
func (q *Queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// do hands a step to the writer and waits for its commit. Once the writer has
// it, ctx is not looked at any more: a commit is short.
func (q *Queue) do(ctx context.Context, run func(c *change) (bool, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{run, make(chan error, 1)}
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return ErrClosed
	}
	q.ops = append(q.ops, o)
	q.mu.Unlock()
	q.kick()
	return <-o.done
}

// takeLock takes the folder's lock file; it waits a moment for one that reads it.
func takeLock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		err = lock(f)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, ErrInUse) || try == 5 {
			f.Close()
			return nil, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
