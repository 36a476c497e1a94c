package queue

import (
	"encoding/binary"
	"fmt"
)

const freelistPage = 0x10

// soundBytes is what the pages take that sound looks at, of an ordinary lane.
const soundBytes = 48 << 10

// sound looks at the pages that the next commit makes bbolt read, before it does:
// those on the way to the newest batch, the buckets beside the batches, and the
// list of free pages. bbolt trusts them: a page that claims to go on for a
// billion others is freed one by one, one that claims a few takes the room of
// batches that are still needed.
func (f *file) sound() error {
	if f.arena == nil {
		f.arena = make([]byte, soundBytes)
	}
	list, err := metaPages(f.os)
	if err == nil && (len(list) == 0 || list[0].tx != f.meta.tx) {
		err = fmt.Errorf("its newest meta page is not that of transaction %d", f.meta.tx)
	}
	if err != nil {
		return &damage{f.path, err}
	}
	t := &tree{src: f.os, what: "segment " + f.path, page: f.meta.pageSize, high: list[0].high, tx: list[0].tx, root: list[0].root}
	return func() error { // the writer alone writes: no page is used again meanwhile
		arena := f.arena
		t.arena = &arena
		n, err := t.node(t.root)
		for depth := 1; err == nil && n.branch; depth++ {
			if depth == maxDepth {
				return t.damaged("it is more than %d levels deep", maxDepth)
			}
			if err = t.elements(n); err == nil {
				n, err = t.node(n.child(n.count - 1))
			}
		}
		if err == nil {
			err = t.elements(n)
		}
		for i := n.count - 1; err == nil && i >= 0 && keySeq(n.key(i)) == 0; i-- {
			v, bucket := n.value(i)
			if !bucket {
				return t.damaged("key %x has no bucket", n.key(i))
			}
			var s *tree
			if s, err = t.sub(v); err == nil {
				err = s.all()
			}
		}
		if err != nil {
			return err
		}
		return f.freelist(t)
	}()
}

// elements checks that all elements of a page are in it.
func (t *tree) elements(n node) error {
	for i := range n.count {
		if n.key(i) == nil {
			return t.damaged("element %d is not in its page", i)
		}
		if !n.branch {
			if v, _ := n.value(i); v == nil {
				return t.damaged("element %d is not in its page", i)
			}
		}
	}
	return nil
}

// freelist checks the header of the list of free pages.
func (f *file) freelist(t *tree) error {
	list, err := metaPages(t.src)
	if err != nil {
		return &damage{t.what, err}
	}
	if len(list) == 0 || list[0].tx != t.tx {
		return t.damaged("its newest meta page is not that of transaction %d", t.tx)
	}
	id := list[0].free
	if id < 2 || id >= t.high {
		return t.damaged("page %d of %d is named as the list of free pages", id, t.high)
	}
	b := make([]byte, pageHeader)
	if _, err := t.src.ReadAt(b, int64(id)*t.page); err != nil {
		return &damage{t.what, err}
	}
	own, flags, more := binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint16(b[8:]), uint64(binary.NativeEndian.Uint32(b[12:]))
	if own != id || flags != freelistPage || id+more >= t.high {
		return t.damaged("page %d is no list of free pages: it says page %d, flags %#x, %d more", id, own, flags, more)
	}
	return nil
}
