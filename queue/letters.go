package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

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
