package queue

import (
	"encoding/binary"
	"errors"
	"os"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// verifyIndex reads what the newest transaction, which may have been cut off, can
// have written of the index if its first batch is number from: the buckets beside
// the batches too, and of the batches there whether they are the ones that the
// index says.
func (f *file) verifyIndex(from wire.Seq) error {
	return f.view(func(t *tree) error {
		return t.written(seqKey(from), func(key, value []byte, bucket bool) error {
			if !bucket {
				return t.damaged("key %x has no bucket", key)
			}
			s, err := t.sub(value)
			if err != nil {
				return err
			}
			if keySeq(key) == 0 {
				return s.all()
			}
			b, err := s.start()
			if err != nil {
				return err
			}
			if _, err := wire.BatchSize(b); err != nil {
				return &damage{t.what, err}
			}
			if first := wire.Seq(binary.BigEndian.Uint64(b[40:])); first != keySeq(key) { // docs/PROTOCOL.md, batch
				return t.damaged("batch %d lies under key %d", first, keySeq(key))
			}
			return nil
		})
	})
}

// wrote reads all that the newest transaction can have written, but for the list
// of free pages, which a file that is not closed in order does not need again.
func (f *file) wrote(t *tree, from wire.Seq) error {
	return t.written(seqKey(from), func(key, value []byte, _ bool) error {
		if n := keySeq(key); n > 0 && n < from {
			return nil
		}
		s, err := t.sub(value)
		if err != nil {
			return err
		}
		return s.all()
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
		return f.wrote(t, from)
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
