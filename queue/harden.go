package queue

import (
	"encoding/binary"
	"errors"
	"os"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// chained is how many of the newest batches are compared with the keys they lie
// under. A commit writes the last page of the index, which names fewer.
const chained = 512

// verifyIndex reads the index of the newest transaction, which may have been cut
// off: all its pages, the buckets beside the batches, and of the newest batches
// whether they are the ones that the index says.
func (f *file) verifyIndex() error {
	return f.view(func(t *tree) error {
		if err := t.check(func(name []byte) bool { return keySeq(name) == 0 }); err != nil {
			return err
		}
		type named struct {
			n wire.Seq
			v []byte
		}
		var last []named
		c, err := t.floor(nil)
		for err == nil && c.number() > 0 {
			_, v, bucket, kerr := c.entry()
			if kerr == nil && !bucket {
				kerr = t.damaged("number %d has no batch", c.number())
			}
			if kerr != nil {
				return kerr
			}
			if len(last) == chained {
				last = append(last[:0], last[1:]...)
			}
			last = append(last, named{c.number(), v})
			err = c.next()
		}
		for _, e := range last {
			if err != nil {
				return err
			}
			var s *tree
			if s, err = t.sub(e.v); err != nil {
				return err
			}
			var b []byte
			if b, err = s.start(); err != nil {
				return err
			}
			if _, err = wire.BatchSize(b); err != nil {
				return &damage{t.what, err}
			}
			if first := wire.Seq(binary.BigEndian.Uint64(b[40:])); first != e.n { // docs/PROTOCOL.md, batch
				return t.damaged("batch %d lies under key %d", first, e.n)
			}
		}
		return err
	})
}

// harden writes what the newest transaction of a closed file consists of once
// more, the same bytes to the same places, and syncs it: the pages of its index,
// and the batches from number from on. Bytes that read well may be in the cache of
// the system alone, and count as written there after a sync of an earlier process
// has failed; only a write that is new to the system proves anything (rule 5).
// Whenever the power goes, the file is what it was or what it is.
func (f *file) harden(from wire.Seq) error {
	if err := durable.Ahead(durable.Open, f.path); err != nil {
		return err
	}
	w, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.view(func(t *tree) error {
		if err := durable.Ahead(durable.Write, f.path); err != nil {
			return err
		}
		t.seen = func(id uint64, pages []byte) error {
			_, err := w.WriteAt(pages, int64(id)*t.page)
			return err
		}
		return t.check(func(name []byte) bool { return keySeq(name) == 0 || keySeq(name) >= from })
	})
	if err == nil {
		meta := make([]byte, f.meta.pageSize)
		if _, err = f.os.ReadAt(meta, f.meta.offset); err == nil {
			_, err = w.WriteAt(meta, f.meta.offset)
		}
	}
	if err == nil {
		err = durable.SyncFile(w)
	}
	return errors.Join(err, w.Close())
}
