package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// A queue keeps at most so many dead letters, and so many bytes of them; beyond
// that the oldest tenth goes. Tests lower them.
var (
	maxLetters     uint64 = 10_000
	maxLetterBytes int64  = 64 << 20
)

// ErrNoLetter: there is no dead letter of that name, or it is not kept any more.
var ErrNoLetter = errors.New("no such dead letter")

// Letter is a dead letter: a message that a store has refused for good (rule 10).
type Letter struct {
	ID      LetterID
	Epoch   wire.Epoch // the stream it was refused in
	Number  wire.Seq   // and its number there, which a tombstone stands for
	Time    time.Time  // when it was refused
	Why     string     // as the store said
	Message wire.Message
}

// letters is the dead letters with these ordinals, both included.
type letters struct{ from, to uint64 }

// letters returns how many dead letters are kept.
func (s *state) letters() uint64 {
	n := s.dead
	for _, f := range s.forgotten {
		n -= f.to - f.from + 1
	}
	return n
}

// forgot reports whether a dead letter is not kept any more.
func (s *state) forgot(ordinal uint64) bool {
	return slices.ContainsFunc(s.forgotten, func(f letters) bool { return f.from <= ordinal && ordinal <= f.to })
}

// forget notes that dead letters are not kept any more.
func (s *state) forget(list ...uint64) {
	all := slices.Clone(s.forgotten)
	for _, n := range list {
		all = append(all, letters{n, n})
	}
	slices.SortFunc(all, func(a, b letters) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	merged := all[:0]
	for _, f := range all {
		if k := len(merged) - 1; k >= 0 && f.from <= merged[k].to+1 {
			merged[k].to = max(merged[k].to, f.to)
		} else {
			merged = append(merged, f)
		}
	}
	s.forgotten = merged
}

// shelf is which dead letters are kept, as far as the writer has looked.
type shelf struct {
	known bool
	list  []onShelf   // ascending
	dirty atomic.Bool // letters were forgotten: there may be files that hold no other
}

type onShelf struct {
	ordinal uint64
	bytes   int64
}

// evict forgets the oldest letters if there are too many with the new ones of a
// change. The writer calls it.
func (q *Queue) evict(s *state, fresh []letter) {
	if !q.shelf.known {
		q.shelf.list = nil
		now := q.snapshot()
		err := q.files.letters(&now, 0, func(l *letter) error {
			q.shelf.list = append(q.shelf.list, onShelf{l.ordinal, int64(len(l.record))})
			return nil
		})
		if err != nil {
			q.log.Warn("the dead letters cannot be counted now: there may be more than are to be kept", "error", err)
			return
		}
		q.shelf.known = true
	}
	list := slices.DeleteFunc(slices.Clone(q.shelf.list), func(o onShelf) bool { return s.forgot(o.ordinal) })
	for _, l := range fresh {
		if !slices.ContainsFunc(list, func(o onShelf) bool { return o.ordinal == l.ordinal }) {
			list = append(list, onShelf{l.ordinal, int64(len(l.record))})
		}
	}
	q.shelf.list = list // this one may not be committed: what it forgets is taken out the next time
	bytes := int64(0)
	for _, o := range list {
		bytes += o.bytes
	}
	if uint64(len(list)) > maxLetters || bytes > maxLetterBytes {
		n := 0
		for ; n+1 < len(list) && (uint64(len(list)-n) > maxLetters*9/10 || bytes > maxLetterBytes/10*9); n++ {
			bytes -= list[n].bytes
			s.forget(list[n].ordinal)
			s.evicted++
		}
		q.shelf.dirty.Store(true)
		q.log.Error("there are too many dead letters: the oldest are gone for good", "count", n, "kept", len(list)-n)
	}
}

// sweep deletes the files of the folder dead that hold no letter which is kept.
func (q *Queue) sweep() {
	if !q.shelf.dirty.Swap(false) {
		return
	}
	q.files.mu.Lock()
	defer q.files.mu.Unlock()
	now := q.snapshot()
	for _, s := range q.files.shelved() {
		path := filepath.Join(q.files.dir, deadFolder, s.name())
		list, err := lettersIn(path)
		if err == nil && slices.ContainsFunc(list, func(l letter) bool { return !now.forgot(l.ordinal) }) {
			continue
		}
		if err == nil {
			err = durable.RemoveFile(path)
		}
		if err != nil && !isNotExist(err) {
			q.log.Warn("a file of dead letters stays", "file", path, "error", err)
		}
	}
}

// shelved returns the files in the folder dead.
func (fs *files) shelved() []segment {
	segs, _, err := list(filepath.Join(fs.dir, deadFolder))
	if err != nil {
		return nil
	}
	return segs
}

// lettersIn reads all dead letters of a file in the folder dead.
func lettersIn(path string) ([]letter, error) {
	f, err := openSealed(path)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return readLetters(f)
}

// letters hands the dead letters that are kept to yield, from an ordinal on,
// ascending, each once; an error of yield ends it. They are in the segments, and
// once those are gone in the folder dead under the same name. What cannot be read
// is left out, and said in the error.
func (fs *files) letters(s *state, from uint64, yield func(*letter) error) error {
	var errs []error
	for file, more := uint64(0), true; more; {
		var list []letter
		var err error
		file, list, more, err = fs.lettersAfter(file)
		if err != nil {
			errs = append(errs, err)
		}
		for i := range list {
			l := &list[i]
			if l.ordinal < from || l.ordinal >= s.dead || s.forgot(l.ordinal) {
				continue // also what a newer file has again
			}
			from = l.ordinal + 1
			if err := yield(l); err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

// lettersAfter reads the letters of the first file whose segment has a higher
// ordinal; more is false if there is none.
func (fs *files) lettersAfter(ordinal uint64) (found uint64, list []letter, more bool, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	at := -1
	for i, s := range fs.segs {
		if s.ordinal > ordinal {
			at, found, more = i, s.ordinal, true
			break
		}
	}
	name := ""
	for _, s := range fs.shelved() {
		if s.ordinal > ordinal && (!more || s.ordinal <= found) {
			found, more, name = s.ordinal, true, s.name()
			break
		}
	}
	if !more {
		return 0, nil, false, nil
	}
	if name != "" {
		if list, err = lettersIn(filepath.Join(fs.dir, deadFolder, name)); err == nil || at < 0 || fs.segs[at].ordinal != found {
			return found, list, true, wrapPath(err, name)
		}
	}
	f, err := fs.handle(at)
	if err == nil {
		list, err = readLetters(f)
	}
	if isNotExist(err) { // it goes
		err = nil
	}
	return found, list, true, wrapPath(err, fs.segs[at].name())
}

func wrapPath(err error, name string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dead letters of %s: %w", name, err)
}

// export makes a Letter of it.
func (l *letter) export(stream uint64) (Letter, error) {
	m, err := l.record.Message()
	if err != nil {
		return Letter{}, fmt.Errorf("dead letter %s: %w", LetterID{stream, l.ordinal}, err)
	}
	return Letter{ID: LetterID{stream, l.ordinal}, Epoch: l.epoch, Number: l.n, Time: l.time, Why: l.why, Message: m}, nil
}

// pick reads the dead letters with these ordinals.
func (q *Queue) pick(ordinals []uint64) ([]letter, error) {
	want := map[uint64]bool{}
	for _, n := range ordinals {
		want[n] = true
	}
	if len(want) == 0 {
		return nil, nil
	}
	now := q.snapshot()
	var found []letter
	err := q.files.letters(&now, slices.Min(ordinals), func(l *letter) error {
		if want[l.ordinal] {
			found = append(found, *l)
			delete(want, l.ordinal)
		}
		return nil
	})
	if len(want) > 0 {
		for n := range want {
			return nil, errors.Join(fmt.Errorf("%w: %d", ErrNoLetter, n), err)
		}
	}
	return found, nil
}

// putAgain puts dead letters as new messages of this stream, in the order of their
// ordinals, and forgets them, all or none, in one transaction. What they say is
// unchanged, their time too.
func (q *Queue) putAgain(ctx context.Context, ordinals []uint64) error {
	list, err := q.pick(ordinals)
	if err != nil || len(list) == 0 {
		return err
	}
	p := &put{}
	for i := range list {
		m, err := list[i].record.Message()
		if err != nil {
			return fmt.Errorf("dead letter %d: %w", list[i].ordinal, err)
		}
		p.last = len(p.buf)
		if p.buf, err = wire.AppendRecord(p.buf, &m); err != nil {
			return fmt.Errorf("dead letter %d: %w", list[i].ordinal, err)
		}
		if k := len(p.chunks) - 1; k < 0 || len(p.buf)-p.start(k) > batchTarget {
			p.chunks = append(p.chunks, chunk{end: len(p.buf), count: 1})
		} else {
			p.chunks[k].end = len(p.buf)
			p.chunks[k].count++
		}
	}
	err = q.do(ctx, func(c *change) (bool, error) {
		for i := range list {
			if c.state.forgot(list[i].ordinal) {
				return false, fmt.Errorf("%w: %d", ErrNoLetter, list[i].ordinal)
			}
		}
		if err := q.never(p); err != nil {
			return false, err
		}
		q.mu.Lock()
		full := q.room(p)
		q.mu.Unlock()
		if full != nil {
			return false, errFull(full)
		}
		c.spares = true
		q.pack(c, &group{puts: []*put{p}})
		c.state.forget(ordinalsOf(list)...)
		c.drops = true
		q.shelf.dirty.Store(true)
		return true, nil
	})
	if err == nil {
		q.sweep()
	}
	return err
}

// start returns where a chunk begins.
func (p *put) start(k int) int {
	if k == 0 {
		return 0
	}
	return p.chunks[k-1].end
}

func ordinalsOf(list []letter) (out []uint64) {
	for i := range list {
		out = append(out, list[i].ordinal)
	}
	return out
}

// discard forgets dead letters, all or none, in one transaction.
func (q *Queue) discard(ctx context.Context, ordinals []uint64) error {
	err := q.do(ctx, func(c *change) (bool, error) {
		for _, n := range ordinals {
			if n >= c.state.dead || c.state.forgot(n) {
				return false, fmt.Errorf("%w: %d", ErrNoLetter, n)
			}
		}
		c.state.forget(ordinals...)
		c.drops = true
		q.shelf.dirty.Store(true)
		return len(ordinals) > 0, nil
	})
	if err == nil {
		q.sweep()
	}
	return err
}

// inherit takes the dead letters of a stream that goes. Those it has already,
// from an attempt that was cut short, it takes only once.
func (q *Queue) inherit(ctx context.Context, from *Queue) error {
	now := from.snapshot()
	var list []letter
	err := from.files.letters(&now, 0, func(l *letter) error {
		list = append(list, *l)
		return nil
	})
	if err != nil || len(list) == 0 {
		return err
	}
	type place struct {
		epoch wire.Epoch
		n     wire.Seq
	}
	have := map[place]bool{}
	mine := q.snapshot()
	err = q.files.letters(&mine, 0, func(l *letter) error {
		have[place{l.epoch, l.n}] = true
		return nil
	})
	if err != nil {
		return err
	}
	return q.do(ctx, func(c *change) (bool, error) {
		for _, l := range list {
			if have[place{l.epoch, l.n}] {
				continue
			}
			l.ordinal = c.state.dead
			c.state.dead++
			c.letters = append(c.letters, l)
			c.drops = true
		}
		if len(c.letters) > 0 {
			q.evict(&c.state, c.letters)
		}
		return len(c.letters) > 0, nil
	})
}

// readLettersAtRest hands the dead letters of a stream's folder that no process
// has open to yield.
func readLettersAtRest(dir string, from uint64, yield func(*letter) error) error {
	fs, s, unlock, err := openAtRest(dir)
	if err != nil {
		return err
	}
	defer unlock()
	defer fs.close()
	return fs.letters(&s, from, yield)
}

// openAtRest opens a folder that no process has open, to look at it. The caller
// closes the files and then calls unlock.
func openAtRest(dir string) (fs *files, s state, unlock func(), err error) {
	segs, _, err := list(dir)
	if err != nil {
		return nil, s, nil, err
	}
	if len(segs) == 0 {
		return nil, s, nil, fmt.Errorf("%w: it has no segment files", ErrNotAQueue)
	}
	unlock = func() {}
	l, err := os.Open(filepath.Join(dir, lockName))
	if err == nil {
		unlock = func() { l.Close() }
		err = lock(l)
	}
	if err != nil && !isNotExist(err) { // a copy of a folder may lack the lock file
		unlock()
		return nil, s, nil, err
	}
	f, err := openSealed(filepath.Join(dir, segs[len(segs)-1].name()))
	if err == nil {
		var h head
		if h, s, err = f.load(); err == nil {
			return &files{dir: dir, agent: h.agent, lane: h.lane, segs: segs, tail: f, look: true}, s, unlock, nil
		}
		f.close()
	}
	unlock()
	return nil, s, nil, err
}
