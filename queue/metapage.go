package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// A database has two meta pages. Each transaction writes the one that the last
// but one wrote, after its other pages, and the one with the larger transaction
// number counts. Without the larger one the database is as it was one transaction
// before: no page of that one is used again until the next transaction begins,
// which is not before the last one's sync has returned.
//
// So one sync a commit, of all pages together, is enough, though a power cut in
// the middle may leave a meta page that names pages which never came to the disk:
// such a transaction is found by reading it whole, and taken back. bbolt by
// itself syncs twice to avoid that, and so does the commit of the clean mark,
// which the next opening believes unread.

// firstTx is the transaction that makes a segment. Its file gets its name only
// once it is synced, so it is never in doubt.
const firstTx = 2

// metaPage is where a database says what one transaction made of it.
type metaPage struct {
	offset   int64
	tx       int
	pageSize int64
	root     uint64 // page of the root bucket
	free     uint64 // page of the list of free ones
	high     uint64 // pages in use
}

// Offsets in a meta page, in the byte order of the machine; bbolt,
// internal/common/page.go and meta.go.
const (
	metaStart    = 16 // after the page's header
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaPageSize = 8
	metaRoot     = 16
	metaFree     = 32
	metaHigh     = 40
	metaTx       = 48
	metaChecksum = 56
	metaEnd      = 64
	metaSector   = 512 // what is wiped; a disk writes a sector whole or not at all
)

// parseMeta reads a meta page; false if it is none, or not whole.
func parseMeta(b []byte, offset int64) (p metaPage, ok bool) {
	if len(b) < metaStart+metaEnd {
		return p, false
	}
	m := b[metaStart:]
	h := fnv.New64a()
	h.Write(m[:metaChecksum])
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	p = metaPage{offset, int(u64(m[metaTx:])), int64(u32(m[metaPageSize:])), u64(m[metaRoot:]), u64(m[metaFree:]), u64(m[metaHigh:])}
	ok = u32(m) == metaMagic && u32(m[4:]) == metaVersion && u64(m[metaChecksum:]) == h.Sum64()
	return p, ok && p.pageSize >= 1<<10 && p.pageSize <= 64<<10
}

// metaPages returns the meta pages of a database that are whole, the newest first.
func metaPages(f io.ReaderAt) (list []metaPage, err error) {
	buf := make([]byte, metaStart+metaEnd)
	at := func(offset int64) (metaPage, bool) {
		n, rerr := f.ReadAt(buf, offset)
		if rerr != nil && !errors.Is(rerr, io.EOF) {
			err = rerr
		}
		return parseMeta(buf[:n], offset)
	}
	if p, ok := at(0); ok {
		list = append(list, p)
		if p, ok = at(p.pageSize); ok {
			list = append(list, p)
		}
	} else {
		for offset := int64(1 << 10); offset <= 64<<10 && list == nil; offset *= 2 {
			if p, ok := at(offset); ok && p.pageSize == offset {
				list = append(list, p)
			}
		}
	}
	if len(list) == 2 && list[1].tx > list[0].tx {
		list[0], list[1] = list[1], list[0]
	}
	return list, err
}

// takeBack makes the newest transaction of a closed segment file undone if it is
// above trust, durably. undo puts it there again. An error that [isDamage] means
// that the file does not hold transaction trust.
func takeBack(path string, trust int) (undo func() error, err error) {
	if err := durable.Ahead(durable.Open, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	list, err := metaPages(f)
	switch {
	case err != nil:
	case len(list) > 0 && list[0].tx <= trust:
		return func() error { return nil }, f.Close()
	case len(list) < 2 || list[1].tx != trust:
		err = &damage{path, fmt.Errorf("of its meta pages %v none is transaction %d", list, trust)}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	was := make([]byte, metaSector)
	if _, err = f.ReadAt(was, list[0].offset); errors.Is(err, io.EOF) {
		err = &damage{path, errors.New("it ends within a meta page")}
	}
	if err == nil {
		err = writeSector(f, make([]byte, metaSector), list[0].offset)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return func() error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(writeSector(f, was, list[0].offset), f.Close())
	}, nil
}

func writeSector(f *os.File, b []byte, offset int64) error {
	err := durable.Ahead(durable.Write, f.Name())
	if err == nil {
		_, err = f.WriteAt(b, offset)
	}
	if err == nil {
		err = durable.SyncFile(f)
	}
	return err
}
