package tail

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/fieldpost/fieldpost/input"
)

// Tail reads the files of its rules. It is an [input.Input].
type Tail struct {
	// Static.
	cfg  Config
	feed *input.Feed

	// Owned by Run.
	files   []*file
	byID    map[fileID]*file
	scanned bool // this run has looked once
	turn    int  // whose turn it is to be first
	all     sync.WaitGroup
	slots   chan *buffer // of those that may read now
	wake    chan struct{}
	told    map[string]bool // troubles that are in the log

	mu     sync.Mutex
	status input.Status
	before totals // of files that are not followed any more
}

// totals are counts over files.
type totals struct {
	input.Count
	bytes, long uint64
	unread      int64
}

// New returns a Tail that hands in what it reads by feed. One feed serves one Tail
// at a time.
func New(feed *input.Feed, cfg Config) *Tail {
	t := &Tail{cfg: cfg.withDefaults(), feed: feed}
	t.status = input.Status{Kind: "file", Name: names(t.cfg.Rules), State: input.Stopped}
	return t
}

func names(rules []Rule) (s string) {
	for _, r := range rules {
		for _, p := range r.Paths {
			if s != "" {
				s += ", "
			}
			s += p
		}
	}
	return s
}

// Run reads until ctx ends; see [input.Input].
func (t *Tail) Run(ctx context.Context) error {
	t.files, t.byID, t.scanned, t.told = nil, map[fileID]*file{}, false, map[string]bool{}
	t.slots, t.wake = make(chan *buffer, mostWorkers), make(chan struct{}, 1)
	for range workers {
		t.slots <- &buffer{}
	}
	defer func() {
		t.all.Wait()
		for _, f := range t.files {
			f.close()
			t.settleCounts(f)
		}
		t.files = nil
		t.report(input.Stopped, nil)
	}()
	hints := newHints()
	defer hints.close()
	for {
		seen := t.scan()
		if t.cfg.scanned != nil {
			t.cfg.scanned()
		}
		hints.watch(seen.folders)
		t.follow(ctx, seen)
		t.dispatch(ctx)
		t.report(input.Reading, seen)
		for looked, poll := false, time.After(t.cfg.Poll); !looked; {
			select {
			case <-ctx.Done():
				return nil
			case <-poll:
				looked = true
			case <-hints.C():
				looked = true
				time.Sleep(hintPause) // more will follow; ctx is looked at right after
			case <-t.wake: // a worker is free
				t.dispatch(ctx)
				t.report(input.Reading, nil)
			}
		}
	}
}

// dispatch gives files to workers, as many as are free.
func (t *Tail) dispatch(ctx context.Context) {
	for i := range t.files {
		f := t.files[(t.turn+i)%len(t.files)]
		if f.busy.Load() || !t.due(f) {
			continue
		}
		t.lend()
		select {
		case buf := <-t.slots:
			t.turn = (t.turn + i + 1) % len(t.files)
			flush := t.flushes(f)
			f.busy.Store(true)
			t.all.Go(func() {
				f.turn(ctx, buf, flush)
				f.busy.Store(false)
				if cap(buf.b) > 4*chunkBytes {
					buf.b = nil
				}
				if len(t.slots) < workers {
					t.slots <- buf
				}
				select {
				case t.wake <- struct{}{}:
				default:
				}
			})
		default:
			return
		}
	}
}

// lend makes a place for another worker for each that waits for a lane which is full:
// else a few files of that lane would keep all others from being read.
func (t *Tail) lend() {
	if len(t.slots) > 0 {
		return
	}
	busy, waiting := 0, 0
	for _, f := range t.files {
		if f.busy.Load() {
			busy++
			if f.src.Waits() {
				waiting++
			}
		}
	}
	if busy < mostWorkers && busy-waiting < workers {
		t.slots <- &buffer{} // there is room: all places are in use
	}
}

// flushes reports whether nothing is expected any more behind what is there.
func (t *Tail) flushes(f *file) bool {
	return f.quiet(f.rule.Flush) || (f.renamed || f.gone) && f.quiet(t.cfg.quiet)
}

// due reports whether there is something to do for a worker.
func (t *Tail) due(f *file) bool {
	switch {
	case f.after != nil && !t.idle(f.after), f.truncated, !f.lost.IsZero():
		return false
	case f.trouble != nil:
		return time.Since(f.turned) >= t.cfg.Poll
	case !f.settled, f.off < f.size && (f.size != f.tried || t.flushes(f)), f.size < f.off:
		return true
	case f.h != nil && f.gone && !f.done: // only its handle tells how long it is
		return time.Since(f.turned) >= t.cfg.Poll
	}
	return false
}

// idle reports whether a file is read as far as is needed to go on with the one
// that has come after it.
func (t *Tail) idle(f *file) bool {
	return f.done || !f.busy.Load() && !f.unsure && f.settled && f.off >= f.size && (f.copied || f.quiet(t.cfg.quiet)) && !f.truncated && f.lost.IsZero()
}

// newID returns a random id of a source.
func newID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// add follows a file from now on.
func (t *Tail) add(src *input.Source, e *entry, rule int) *file {
	first := pathOf(src)
	r := &t.cfg.Rules[rule]
	f := &file{src: src, rule: r, first: first, path: e.path, id: e.id, size: e.size, time: e.time, changed: e.time, topic: r.topic(first), tried: -1}
	if now := time.Now(); f.changed.After(now) {
		f.changed = now
	}
	f.cut = cutter{r.Multiline, r.most(f.topic)}
	f.off, _ = src.Position()
	f.renamed = e.path != first
	t.files = append(t.files, f)
	t.byID[e.id] = f
	return f
}

// drop follows a file no longer.
func (t *Tail) drop(f *file) {
	f.close()
	t.settleCounts(f)
	if t.byID[f.id] == f {
		delete(t.byID, f.id)
	}
	t.files = slices.DeleteFunc(t.files, func(o *file) bool { return o == f })
	f.done = true // for the one that waits for it
}

// settleCounts keeps the counts of a file that is left.
func (t *Tail) settleCounts(f *file) {
	c, _ := f.src.Count()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before.bytes += f.bytes
	t.before.long += f.long
	f.bytes, f.long = 0, 0
	if f.done { // else another run will have the same source, which goes on counting
		t.before.add(c)
	}
}

func (t *totals) add(c input.Count) {
	t.Accepted += c.Accepted
	t.Dropped += c.Dropped
	t.TooLong += c.TooLong
	if c.Last.After(t.Last) {
		t.Last = c.Last
	}
}

// trouble writes a trouble into the log, once until it is over.
func (t *Tail) trouble(path string, err error) {
	if err != nil && !t.told[path] {
		t.cfg.Logger.Warn("a file or folder is not read", "path", path, "err", err)
	}
	if err == nil && t.told[path] {
		t.cfg.Logger.Info("a file or folder is read again", "path", path)
	}
	if t.told[path] = err != nil; err == nil {
		delete(t.told, path)
	}
}

// hints are the file system's, that something has changed. Where it gives none, as
// on a network, or not enough, the poll sees it a little later.
type hints struct {
	w    *fsnotify.Watcher // nil if there are none
	seen map[string]bool
	c    chan struct{}
	done sync.WaitGroup
}

func newHints() *hints {
	h := &hints{seen: map[string]bool{}, c: make(chan struct{}, 1)}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return h
	}
	h.w = w
	h.done.Go(func() {
		for {
			select {
			case _, ok := <-w.Events:
				if !ok {
					return
				}
			case _, ok := <-w.Errors: // too many at once: then a look is due as well
				if !ok {
					return
				}
			}
			select {
			case h.c <- struct{}{}:
			default:
			}
		}
	})
	return h
}

// watch asks for hints of what happens in folders, in a hundred at most.
func (h *hints) watch(folders []string) {
	for _, dir := range folders {
		if h.w != nil && !h.seen[dir] && len(h.seen) < 100 {
			h.seen[dir] = h.w.Add(dir) == nil
		}
	}
}

// C gives a value after something has happened.
func (h *hints) C() <-chan struct{} { return h.c }

func (h *hints) close() {
	if h.w != nil {
		h.w.Close()
		h.done.Wait()
	}
}

// report brings the status up to date. seen is the last scan, nil if there was none
// since the last report.
func (t *Tail) report(state string, seen *found) {
	if state == input.Stopped {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.status.State, t.status.Trouble = state, ""
		return
	}
	st := input.Status{Kind: t.status.Kind, Name: t.status.Name, State: state}
	var sum totals
	for _, f := range t.files {
		c, waits := f.src.Count()
		sum.add(c)
		p := input.Place{Name: f.path}
		if f.busy.Load() { // the rest is the worker's
			p.At, _ = f.src.Position()
			p.Size = p.At
		} else {
			p.At, p.Size = f.off, f.size
			sum.bytes += f.bytes
			sum.long += f.long
			if f.trouble != nil {
				p.Trouble = f.trouble.Error()
			}
			t.trouble(f.path, f.trouble)
		}
		if waits != nil {
			p.Trouble = waits.Error()
		}
		st.Behind += max(0, p.Size-p.At)
		if !f.done || p.Trouble != "" {
			st.Sources = append(st.Sources, p)
		}
		if p.Trouble != "" && st.Trouble == "" {
			st.State, st.Trouble = input.Waiting, fmt.Sprintf("%s: %s", p.Name, p.Trouble)
		}
	}
	if seen != nil {
		for path, err := range seen.troubles {
			t.trouble(path, err)
			if st.Trouble == "" {
				st.Trouble = err.Error()
			}
		}
		if len(t.files) >= maxFiles {
			st.Trouble = fmt.Sprintf("%d files are followed, the limit; more are not read: make the patterns narrower, or remove old files", maxFiles)
		}
	}
	slices.SortFunc(st.Sources, func(a, b input.Place) int {
		if (a.Trouble == "") != (b.Trouble == "") {
			if a.Trouble != "" {
				return -1
			}
			return 1
		}
		return int(min(1, max(-1, (b.Size-b.At)-(a.Size-a.At))))
	})
	st.Count = len(st.Sources)
	st.Sources = st.Sources[:min(len(st.Sources), input.MaxPlaces)]
	t.mu.Lock()
	defer t.mu.Unlock()
	sum.add(t.before.Count)
	st.Messages, st.Dropped, st.LastRead = sum.Accepted, sum.Dropped, sum.Last
	st.Bytes, st.TooLong, st.Unread = sum.bytes+t.before.bytes, sum.TooLong+sum.long+t.before.long, t.before.unread
	if seen == nil && st.Trouble == "" {
		st.Trouble = t.status.Trouble
	}
	t.status = st
}

// Status returns how the files stand; see [input.Input].
func (t *Tail) Status() input.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.status
	st.Sources = slices.Clone(st.Sources)
	return st
}

// sameFolder reports whether two paths are in one folder.
func sameFolder(a, b string) bool { return filepath.Dir(a) == filepath.Dir(b) }
