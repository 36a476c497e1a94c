package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector"
)

// Reader reads a journal and changes nothing: beside a running collector, in
// another process, or in the folder of a stopped one. It shows synced state only
// (rule 6): what the mark vouches for, and after a restart of the machine all
// whole commits, because they are read from the disk. Its memory does not depend
// on what the journal holds, but for Agents. Methods may be called concurrently.
type Reader struct {
	dir      string
	identity identityFile

	mu    sync.Mutex
	heads map[uint64]head // of segments; they never change
}

// OpenReader returns a reader of the journal in a folder, which is not made and
// not locked. ErrNone: there is no journal.
func OpenReader(dir string) (*Reader, error) {
	f, err := readIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIdentity) {
		return openWithoutIdentity(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal in %s: %w", dir, err)
	}
	return &Reader{dir: dir, identity: f, heads: map[uint64]head{}}, nil
}

// openWithoutIdentity takes the store's id from a segment.
func openWithoutIdentity(dir string) (*Reader, error) {
	ordinals, err := listSegments(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the journal in %s: %w", dir, err)
	}
	if id, ok := idOf(dir, ordinals); ok {
		return &Reader{dir: dir, identity: identityFile{Store: id}, heads: map[uint64]head{}}, nil
	}
	if len(ordinals) > 0 {
		return nil, fmt.Errorf("read the journal in %s: %w: the segments do not tell either which store this is: restore store.json from a backup", dir, errIdentity)
	}
	return nil, fmt.Errorf("read the journal in %s: %w; a collector that runs with this folder makes one", dir, ErrNone)
}

// Identity returns who the store is.
func (r *Reader) Identity() collector.Identity { return r.identity.identity() }

func (r *Reader) head(path string) (head, error) {
	n, _ := strconv.ParseUint(strings.TrimSuffix(path[len(path)-len(segmentName(1)):], suffix), 10, 64)
	r.mu.Lock()
	h, ok := r.heads[n]
	r.mu.Unlock()
	if ok {
		return h, nil
	}
	h, err := readHead(path)
	if err == nil {
		r.mu.Lock()
		r.heads[n] = h
		r.mu.Unlock()
	}
	return h, err
}

// extents returns the segments that count and how much of each may be shown.
func (r *Reader) extents() ([]extent, error) {
	m, err := readMark(r.dir)
	list, _, err := r.extentsAt(m, err)
	return list, err
}

// extentsAt is extents as of a mark, as readMark returned it, and what retention
// has removed before them.
func (r *Reader) extentsAt(m mark, err error) ([]extent, removal, error) {
	if err != nil && !errors.Is(err, errNoMark) {
		m, err = mark{}, nil // all whole commits are shown, as without one
	}
	ordinals, lerr := listSegments(r.dir)
	if lerr != nil {
		return nil, removal{}, lerr
	}
	newest, valid := m.ordinal, m.length
	if err != nil || m.ordinal == 0 || m.boot != bootID() {
		if len(ordinals) == 0 {
			return nil, removal{}, nil
		}
		newest = ordinals[len(ordinals)-1]
		synced := int64(0)
		if newest == m.ordinal {
			synced = m.length
		}
		t, err := findTail(segmentPath(r.dir, newest), r.identity.Store, vouch{length: synced, index: m.index, lossy: true})
		if err != nil {
			return nil, removal{}, err
		}
		valid = t.end
	}
	gone, _ := readRemoval(r.dir, r.identity.Store) // on an error what is gone counts as damaged
	list, err := chain(r.dir, r.identity.Store, ordinals, newest, valid, gone.ordinal, m.index, r.head, true)
	return list, gone, err
}

// removed reports whether retention has taken a segment meanwhile.
func (r *Reader) removed(e *extent) bool {
	gone, err := readRemoval(r.dir, r.identity.Store)
	return err == nil && e.ordinal <= gone.ordinal
}

// position is a cursor: behind the record with an index, which ended at an
// offset of a segment. The index alone says it; the rest saves looking for it,
// and is not good any more if the segment's last commit was written again into
// the next one.
type position struct {
	ordinal uint64
	off     int64
	index   uint64
}

func (p position) cursor() collector.Cursor {
	return collector.Cursor(fmt.Sprintf("%d-%d-%d", p.ordinal, p.off, p.index))
}

func parseCursor(c collector.Cursor) (p position, err error) {
	if c == "" {
		return p, nil
	}
	parts := strings.Split(string(c), "-")
	if len(parts) != 3 {
		return p, fmt.Errorf("%w: %.60q is not of the form segment-offset-record", ErrCursor, string(c))
	}
	var n [3]uint64
	for i, s := range parts {
		if n[i], err = strconv.ParseUint(s, 10, 63); err != nil || strconv.FormatUint(n[i], 10) != s {
			return p, fmt.Errorf("%w: %.60q is not of the form segment-offset-record", ErrCursor, string(c))
		}
	}
	return position{n[0], int64(n[1]), n[2]}, nil
}

// Read calls f with what the journal holds behind a cursor, in order, up to the
// end it has now; see [collector.Store]. What is damaged is left out: then the
// error at the end is ErrDamaged and names the places, and the cursor is that of
// the end all the same. ErrCursor: the cursor is not one of this journal's, or
// retention has removed what it points at. ErrRemoved: it did so meanwhile.
func (r *Reader) Read(ctx context.Context, after collector.Cursor, f func(collector.Stored) error) (collector.Cursor, error) {
	p, err := parseCursor(after)
	if err != nil {
		return after, err
	}
	extents, err := r.extents()
	if err != nil {
		return after, fmt.Errorf("read the journal in %s: %w", r.dir, err)
	}
	w := walk{ctx: ctx, seed: seed(r.identity.Store), at: p, f: f, removed: r.removed}
	err = w.run(extents)
	if p = w.at; p == (position{}) {
		return "", err
	}
	return p.cursor(), err
}

// walk is one Read.
type walk struct {
	ctx     context.Context
	seed    uint32
	at      position
	f       func(collector.Stored) error
	removed func(*extent) bool
	damage  []error
	damages int
}

func (w *walk) damaged(path string, off int64, cause error) {
	if w.damages++; len(w.damage) < 16 {
		w.damage = append(w.damage, fmt.Errorf("%s at %d: %w", path, off, cause))
	}
}

func (w *walk) run(extents []extent) error {
	start, err := w.start(extents)
	if err != nil {
		return err
	}
	for i := start; i < len(extents); i++ {
		if err := w.extent(&extents[i]); err != nil {
			return err
		}
	}
	if w.damages > 0 {
		return fmt.Errorf("%w in %d places, run audit: %w", ErrDamaged, w.damages, errors.Join(w.damage...))
	}
	return nil
}

// start finds the segment in which the cursor's next record lies.
func (w *walk) start(extents []extent) (int, error) {
	if w.at.index == 0 {
		i := 0
		for i < len(extents) && extents[i].missing {
			if !w.removed(&extents[i]) {
				w.damaged(extents[i].path, 0, extents[i].headErr)
			}
			i++ // older ones are gone; the rest begins here
		}
		return i, nil
	}
	for i := len(extents) - 1; i >= 0; i-- {
		e := &extents[i]
		if e.headErr != nil {
			continue
		}
		if w.at.index+1 < e.head.first {
			continue
		}
		if i == len(extents)-1 && (w.at.ordinal > e.ordinal || w.at.ordinal == e.ordinal && w.at.off > e.valid) {
			return 0, fmt.Errorf("%w: %s lies behind its end", ErrCursor, w.at.cursor())
		}
		return i, nil
	}
	return 0, fmt.Errorf("%w: %s; the entries behind it are gone, or it is another store's", ErrCursor, w.at.cursor())
}

func (w *walk) extent(e *extent) error {
	if e.missing && w.removed(e) {
		return w.overtaken()
	}
	if e.missing {
		w.damaged(e.path, 0, e.headErr)
		return nil
	}
	if e.headErr != nil {
		w.damaged(e.path, 0, e.headErr)
	}
	f, err := openReading(e.path, true)
	if errors.Is(err, fs.ErrNotExist) && w.removed(e) {
		return w.overtaken()
	}
	if err != nil {
		return err
	}
	defer f.Close()
	off := e.records()
	if w.at.ordinal == e.ordinal && w.at.off >= off && w.at.off <= e.valid {
		off = w.at.off
	}
	s := newScanner(f, w.seed, off, e.valid, w.at.index)
	s.before = e.above
	for s.next() {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if s.bad != nil {
			if e.headErr == nil || s.bad.off > 0 {
				w.damaged(e.path, s.bad.off, s.bad.why)
			}
			continue
		}
		if s.rec.index <= w.at.index {
			continue // seen, or standing here twice
		}
		if s.rec.kind == kindHole { // it was reported until it was repaired
			w.at = position{e.ordinal, s.rec.end, s.rec.index}
			continue
		}
		if want := max(w.at.index+1, e.head.first); s.rec.index > want {
			w.damaged(e.path, s.rec.off, fmt.Errorf("records %d to %d are missing", want, s.rec.index-1))
		}
		if err := w.record(e, &s.rec); err != nil {
			return err
		}
	}
	return s.err
}

// overtaken: retention has taken a segment that was to be read. Whoever has read
// what came before it must not go on behind it as if nothing were missing.
func (w *walk) overtaken() error {
	if w.at.index == 0 {
		return nil
	}
	return fmt.Errorf("%w: what comes behind %s is gone", ErrRemoved, w.at.cursor())
}

func (w *walk) record(e *extent, r *record) error {
	p := position{e.ordinal, r.end, r.index}
	if r.kind == kindEntry {
		ev, err := parseEvent(r.kind, r.payload)
		if err != nil {
			w.damaged(e.path, r.off, err)
			w.at = p
			return nil
		}
		v := ev.(*settled)
		err = w.f(collector.Stored{Cursor: p.cursor(), Agent: v.id, Stream: v.stream, Session: v.session, Received: v.received, Entry: v.entry})
		if err != nil {
			return err
		}
	}
	w.at = p
	return nil
}

// followPoll is how often Follow looks for something new.
const followPoll = 100 * time.Millisecond

// Follow is Read that waits for more at the end. It returns when ctx ends, with
// its error, or with f's first error; damage is left out and not reported.
func (r *Reader) Follow(ctx context.Context, after collector.Cursor, f func(collector.Stored) error) (collector.Cursor, error) {
	var seen mark
	tick := time.NewTicker(followPoll)
	defer tick.Stop()
	for {
		m, err := readMark(r.dir)
		if err != nil || m != seen {
			if after, err = r.Read(ctx, after, f); err != nil && !errors.Is(err, ErrDamaged) {
				return after, err
			}
			seen = m
		}
		select {
		case <-ctx.Done():
			return after, ctx.Err()
		case <-tick.C:
		}
	}
}

// Agents returns all agents that the journal knows, in order of their ids.
func (r *Reader) Agents(ctx context.Context) ([]collector.Known, error) {
	m, err := r.state(ctx)
	if err != nil {
		return nil, err
	}
	return m.known(), nil
}

func (r *Reader) state(ctx context.Context) (agents, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	extents, err := r.extents()
	if err != nil {
		return nil, fmt.Errorf("read the journal in %s: %w", r.dir, err)
	}
	return r.stateOf(ctx, extents)
}

// stateOf returns what extents say, by the newest of their snapshots.
func (r *Reader) stateOf(ctx context.Context, extents []extent) (agents, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := replayer{seed: seed(r.identity.Store), lossy: true}
	if err := p.run(extents); err != nil {
		return nil, fmt.Errorf("read the journal in %s: %w", r.dir, err)
	}
	return p.state, nil
}
