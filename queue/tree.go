package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fieldpost/fieldpost/wire"
)

// tree is a tree of pages in a database file: the whole database, or one bucket.
// It is read here and not by bbolt, which trusts what it reads: a damaged page
// can make it panic, hang, take all memory, or touch what is not in the file.
// Here every number is checked before it is used, an error of the disk is an
// error, and reading needs no mapping of the file. bbolt,
// internal/common/page.go and inode.go, have the layout: a page header, elements
// of 16 bytes, keys and values; a page that is larger goes on in the next ones.
type tree struct {
	src    io.ReaderAt
	what   string                              // for errors
	page   int64                               // bytes
	high   uint64                              // pages in use; a page number is below
	tx     int                                 // transaction that it is of
	root   uint64                              // page, 0: inline
	inline []byte                              // the root of a small bucket, within its parent's value
	arena  *[]byte                             // where pages are read to as long as it has room; nil: memory of their own
	seen   func(id uint64, pages []byte) error // told of all that is read; may be nil
}

const (
	pageHeader  = 16
	pageElement = 16
	branchPage  = 1
	leafPage    = 2
	bucketFlag  = 1
	maxDepth    = 10 // a segment's trees have 3 levels at most
)

// node is a page that holds a part of a tree.
type node struct {
	b      []byte
	branch bool
	count  int
}

func (t *tree) damaged(format string, a ...any) error {
	return &damage{t.what, fmt.Errorf(format, a...)}
}

// node reads a page with those it goes on in.
func (t *tree) node(id uint64) (node, error) {
	if id == 0 && t.inline != nil {
		return t.parse(t.inline, 0)
	}
	if id < 2 || id >= t.high {
		return node{}, t.damaged("page %d of %d is named", id, t.high)
	}
	b, err := t.read(nil, id, 1)
	if err != nil {
		return node{}, err
	}
	if more := uint64(binary.NativeEndian.Uint32(b[12:])); more > 0 {
		if id+more >= t.high {
			return node{}, t.damaged("page %d goes on for %d pages of %d", id, more, t.high)
		}
		if b, err = t.read(b, id+1, more); err != nil {
			return node{}, err
		}
	}
	n, err := t.parse(b, id)
	if err == nil && n.pages(t.page) != len(b)/int(t.page) {
		err = t.damaged("page %d takes %d pages and has content for %d", id, len(b)/int(t.page), n.pages(t.page))
	}
	if err == nil && t.seen != nil {
		err = t.seen(id, b)
	}
	return n, err
}

// read appends n pages from id on to b.
func (t *tree) read(b []byte, id, n uint64) ([]byte, error) {
	at := len(b)
	size := at + int(n)*int(t.page)
	if t.arena != nil && size <= len(*t.arena) {
		a := (*t.arena)[:size:size]
		*t.arena = (*t.arena)[size:]
		copy(a, b)
		b = a
	} else {
		b = append(make([]byte, 0, size), b...)[:size]
	}
	if _, err := t.src.ReadAt(b[at:], int64(id)*t.page); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the file ends before page %d", id+n)
		}
		return nil, &damage{t.what, err}
	}
	return b, nil
}

func (t *tree) parse(b []byte, id uint64) (node, error) {
	if len(b) < pageHeader {
		return node{}, t.damaged("page %d has %d bytes", id, len(b))
	}
	own, flags := binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint16(b[8:])
	n := node{b, flags == branchPage, int(binary.NativeEndian.Uint16(b[10:]))}
	switch {
	case own != id:
		return node{}, t.damaged("page %d says it is page %d", id, own)
	case flags != leafPage && flags != branchPage:
		return node{}, t.damaged("page %d has flags %#x", id, flags)
	case n.branch && n.count == 0 || pageHeader+n.count*pageElement > len(b):
		return node{}, t.damaged("page %d of %d bytes has %d elements", id, len(b), n.count)
	}
	return n, nil
}

// pages returns how many pages the node's content takes: bbolt gives it no others.
func (n *node) pages(size int64) int {
	end := uint64(pageHeader)
	if i := n.count - 1; i >= 0 {
		at := pageHeader + i*pageElement
		e := n.b[at:]
		end = uint64(at)
		if n.branch {
			end += uint64(binary.NativeEndian.Uint32(e)) + uint64(binary.NativeEndian.Uint32(e[4:]))
		} else {
			end += uint64(binary.NativeEndian.Uint32(e[4:])) + uint64(binary.NativeEndian.Uint32(e[8:])) + uint64(binary.NativeEndian.Uint32(e[12:]))
		}
	}
	return int((end + uint64(size) - 1) / uint64(size))
}

// cut returns size bytes of a page at offset pos from its element i; nil if they
// are not in it.
func (n *node) cut(i int, pos, size uint64) []byte {
	from := uint64(pageHeader+i*pageElement) + pos
	if from+size > uint64(len(n.b)) {
		return nil
	}
	return n.b[from : from+size : from+size]
}

// key returns the key of element i; nil is damage.
func (n *node) key(i int) []byte {
	e := n.b[pageHeader+i*pageElement:]
	if n.branch {
		return n.cut(i, uint64(binary.NativeEndian.Uint32(e)), uint64(binary.NativeEndian.Uint32(e[4:])))
	}
	return n.cut(i, uint64(binary.NativeEndian.Uint32(e[4:])), uint64(binary.NativeEndian.Uint32(e[8:])))
}

// value returns the value of element i of a leaf, and whether it is a bucket's;
// nil is damage.
func (n *node) value(i int) (v []byte, bucket bool) {
	e := n.b[pageHeader+i*pageElement:]
	flags, pos := binary.NativeEndian.Uint32(e), binary.NativeEndian.Uint32(e[4:])
	ksize, vsize := binary.NativeEndian.Uint32(e[8:]), binary.NativeEndian.Uint32(e[12:])
	return n.cut(i, uint64(pos)+uint64(ksize), uint64(vsize)), flags&bucketFlag != 0
}

func (n *node) child(i int) uint64 {
	return binary.NativeEndian.Uint64(n.b[pageHeader+i*pageElement+8:])
}

// cursor is a place in a tree.
type cursor struct {
	t    *tree
	path []step // from the root to a leaf; empty: at the end
}

type step struct {
	node
	i int
}

// floor returns the place of the largest key that is not above key; of the
// smallest one where all are above.
func (t *tree) floor(key []byte) (*cursor, error) {
	c := &cursor{t: t}
	return c, c.descend(t.root, key)
}

// descend goes from a page down to a leaf.
func (c *cursor) descend(id uint64, key []byte) error {
	for {
		n, err := c.t.node(id)
		if err != nil {
			return err
		}
		if len(c.path) == maxDepth {
			return c.t.damaged("it is more than %d levels deep", maxDepth)
		}
		if k := len(c.path) - 1; k >= 0 && n.count > 0 {
			if up, own := c.path[k].key(c.path[k].i), n.key(0); !bytes.Equal(up, own) {
				return c.t.damaged("page %d begins with key %x, and is named as beginning with %x", id, own, up)
			}
		}
		at := 0
		for lo, hi := 0, n.count; lo < hi; {
			mid := (lo + hi) / 2
			k := n.key(mid)
			if k == nil {
				return c.t.damaged("page %d: key %d is not in it", id, mid)
			}
			if bytes.Compare(k, key) <= 0 {
				at, lo = mid, mid+1
			} else {
				hi = mid
			}
		}
		c.path = append(c.path, step{n, at})
		if !n.branch {
			if n.count == 0 { // of an empty bucket
				if len(c.path) > 1 {
					return c.t.damaged("page %d is empty", id)
				}
				c.path = nil
			}
			return nil
		}
		id = n.child(at)
	}
}

// entry returns the key and the value at the place; a nil key at the end.
func (c *cursor) entry() (key, value []byte, bucket bool, err error) {
	if len(c.path) == 0 {
		return nil, nil, false, nil
	}
	s := &c.path[len(c.path)-1]
	key = s.key(s.i)
	value, bucket = s.value(s.i)
	if key == nil || value == nil {
		return nil, nil, false, c.t.damaged("element %d is not in its page", s.i)
	}
	return key, value, bucket, nil
}

// next goes to the next place. Keys must ascend, so that a tree that leads in
// circles ends.
func (c *cursor) next() error {
	before, _, _, err := c.entry()
	if err != nil || before == nil {
		return err
	}
	for len(c.path) > 0 {
		s := &c.path[len(c.path)-1]
		if s.i++; s.i < s.count {
			if s.branch {
				if err := c.descend(s.child(s.i), nil); err != nil {
					return err
				}
			}
			break
		}
		c.path = c.path[:len(c.path)-1]
	}
	after, _, _, err := c.entry()
	if err == nil && after != nil && bytes.Compare(before, after) >= 0 {
		err = c.t.damaged("key %x follows key %x", after, before)
	}
	return err
}

// newest returns the first number of the last batch, 0 if there is none.
func (t *tree) newest() (wire.Seq, error) {
	c, err := t.floor(seqKey(endless >> 2)) // below the names of the other buckets
	if err != nil {
		return 0, err
	}
	return c.number(), nil
}

// get returns the value of a key, nil if there is none.
func (t *tree) get(key []byte) ([]byte, error) {
	c, err := t.floor(key)
	if err != nil {
		return nil, err
	}
	k, v, bucket, err := c.entry()
	if err != nil || bucket || !bytes.Equal(k, key) {
		return nil, err
	}
	return v, nil
}

// bucket returns the bucket of a name, nil if there is none.
func (t *tree) bucket(name []byte) (*tree, error) {
	c, err := t.floor(name)
	if err != nil {
		return nil, err
	}
	k, v, bucket, err := c.entry()
	if err != nil || !bucket || !bytes.Equal(k, name) {
		return nil, err
	}
	return t.sub(v)
}

// sub returns the bucket that a value stands for.
func (t *tree) sub(v []byte) (*tree, error) {
	if len(v) < 16 {
		return nil, t.damaged("a bucket has %d bytes", len(v))
	}
	s := *t
	s.root, s.inline = binary.NativeEndian.Uint64(v), nil
	if s.root == 0 {
		s.inline = v[16:]
	}
	return &s, nil
}

// all reads all pages of the tree, but not those of buckets in it.
func (t *tree) all() error {
	return t.written(nil, func([]byte, []byte, bool) error { return nil })
}

// written reads the pages of the tree that a transaction can have written whose
// keys are not below from: where they are, all behind that, what is above, and
// what those were split from, which is the page before: bbolt leaves no page with a
// single child behind. It hands what the first kind holds to each.
func (t *tree) written(from []byte, each func(key, value []byte, bucket bool) error) error {
	c, err := t.floor(from)
	for i := 0; err == nil && i < len(c.path); i++ {
		if s := &c.path[i]; !s.branch {
			s.i = 0
		} else if s.i > 0 && from != nil {
			_, err = t.node(s.child(s.i - 1))
		}
	}
	for err == nil {
		k, v, bucket, kerr := c.entry()
		if k == nil || kerr != nil {
			return kerr
		}
		if err = each(k, v, bucket); err == nil {
			err = c.next()
		}
	}
	return err
}

// start returns the beginning of the value of a bucket's first key, at most a
// page of it.
func (t *tree) start() ([]byte, error) {
	b := t.inline
	if t.root != 0 {
		if t.root < 2 || t.root >= t.high {
			return nil, t.damaged("page %d of %d is named", t.root, t.high)
		}
		var err error
		if b, err = t.read(nil, t.root, 1); err != nil {
			return nil, err
		}
	}
	n, err := t.parse(b, t.root)
	if err != nil {
		return nil, err
	}
	if n.branch || n.count == 0 {
		return nil, t.damaged("page %d has no value", t.root)
	}
	e := n.b[pageHeader:]
	from := uint64(pageHeader) + uint64(binary.NativeEndian.Uint32(e[4:])) + uint64(binary.NativeEndian.Uint32(e[8:]))
	to := min(from+uint64(binary.NativeEndian.Uint32(e[12:])), uint64(len(n.b)))
	if from > to {
		return nil, t.damaged("page %d: its value is not in it", t.root)
	}
	return n.b[from:to], nil
}
