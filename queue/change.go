package queue

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/fieldpost/fieldpost/wire"
)

// block is one batch as it lies on disk.
type block struct {
	first, last wire.Seq
	data        []byte
}

// change is what one transaction commits: the state after it, and what is new.
type change struct {
	state   state
	blocks  []block   // new batches, ascending and without a gap
	link    bool      // record link changed
	drops   bool      // record drops changed
	letters []letter  // dead letters
	gone    []segment // files that nobody needs once this is committed
	silent  bool      // shows readers nothing new
	fresh   bool      // had better go into a new segment
	spares  bool      // the ballast: can wait for room, or do with less
}

// keep adds a batch whose numbers continue the state.
func (c *change) keep(b block) {
	c.blocks = append(c.blocks, b)
	c.state.next = b.last + 1
	c.state.bytes += uint64(len(b.data))
}

// size is about how many bytes the change adds to a file.
func (c *change) size() int64 {
	n := int64(4 << 10)
	for _, b := range c.blocks {
		n += int64(len(b.data)) + 64
	}
	for _, l := range c.letters {
		n += int64(len(l.record)) + 512
	}
	return n
}

// first is the smallest number the change writes a batch of, next if none.
func (c *change) first() wire.Seq {
	if len(c.blocks) > 0 {
		return c.blocks[0].first
	}
	return c.state.next
}

func seqKey(n wire.Seq) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func letterKey(e wire.Epoch, n wire.Seq) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(e.ID[:]), uint64(n))
}

// write puts the change into a transaction; all records of it with whole, and
// with h the head of a new file.
func (c *change) write(tx *bbolt.Tx, h *head) error {
	if h != nil {
		for _, name := range [][]byte{bucketMeta, bucketTip, bucketBatches, bucketDead} {
			if _, err := tx.CreateBucket(name); err != nil {
				return fmt.Errorf("bucket %s: %w", name, err)
			}
		}
		if err := tx.Bucket(bucketMeta).Put(keyHead, appendHead(nil, h)); err != nil {
			return fmt.Errorf("record head: %w", err)
		}
	}
	if c.link || h != nil {
		if err := tx.Bucket(bucketMeta).Put(keyLink, appendLink(nil, &c.state)); err != nil {
			return fmt.Errorf("record link: %w", err)
		}
	}
	if c.drops || h != nil {
		if err := tx.Bucket(bucketMeta).Put(keyDrops, appendDrops(nil, &c.state)); err != nil {
			return fmt.Errorf("record drops: %w", err)
		}
	}
	batches := tx.Bucket(bucketBatches)
	batches.FillPercent = 1 // numbers only ascend, a half-empty page would stay so
	for _, b := range c.blocks {
		if err := putBatch(batches, b); err != nil {
			return fmt.Errorf("batch %d: %w", b.first, err)
		}
	}
	for _, l := range c.letters {
		if err := tx.Bucket(bucketDead).Put(letterKey(l.epoch, l.n), appendLetter(nil, &l)); err != nil {
			return fmt.Errorf("dead letter %d: %w", l.n, err)
		}
	}
	if err := tx.Bucket(bucketTip).Put(keyTip, appendTip(nil, &c.state)); err != nil {
		return fmt.Errorf("record tip: %w", err)
	}
	return nil
}

func putBatch(batches *bbolt.Bucket, b block) error {
	key := seqKey(b.first)
	if len(b.data) < nested {
		return batches.Put(key, b.data)
	}
	alone, err := batches.CreateBucket(key)
	if err != nil {
		return err
	}
	return alone.Put(keyBig, b.data)
}

// batchAt returns the value under a key that a cursor found: v itself, or, where
// the batch is alone in a bucket, what is in there.
func batchAt(batches *bbolt.Bucket, k, v []byte) []byte {
	if v == nil {
		if alone := batches.Bucket(k); alone != nil {
			return alone.Get(keyBig)
		}
	}
	return v
}
