package queue

import (
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/fieldpost/fieldpost/internal/durable"
)

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
