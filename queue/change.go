package queue

import (
	"encoding/binary"
	"fmt"

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
	blocks  []block               // new batches, ascending and without a gap
	link    bool                  // record link changed
	drops   bool                  // record drops changed
	letters []letter              // dead letters
	inputs  map[string]checkpoint // that have moved
	gone    []segment             // files that nobody needs once this is committed
	silent  bool                  // shows readers nothing new
	fresh   bool                  // had better go into a new segment
	sure    int                   // so many of the queue's certain spans are in the state
	late    uint64                // numbers given up that a store has, as its acks show
	spares  bool                  // the ballast: can wait for room
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

func letterKey(l *letter) []byte { return binary.BigEndian.AppendUint64(nil, l.ordinal) }

// write puts the change into a transaction; all records of it with whole, and
// with h the head of a new file.
func (c *change) write(tx *bbolt.Tx, h *head) error {
	if h != nil {
		for _, name := range [][]byte{bucketMeta, bucketTip, bucketDead} {
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
	if err := c.putInputs(tx, h != nil); err != nil {
		return err
	}
	tx.Cursor().Bucket().FillPercent = 1 // of the root: numbers only ascend, a half-empty page would stay so
	tip := appendTip(nil, &c.state, tx.ID())
	for i, b := range c.blocks {
		with := tip
		if h != nil || i < len(c.blocks)-1 {
			with = nil
		}
		if err := putBatch(tx, b, with); err != nil {
			return fmt.Errorf("batch %d: %w", b.first, err)
		}
	}
	for _, l := range c.letters {
		if err := tx.Bucket(bucketDead).Put(letterKey(&l), appendLetter(nil, &l)); err != nil {
			return fmt.Errorf("dead letter %d: %w", l.n, err)
		}
	}
	if h != nil || len(c.blocks) == 0 {
		if err := tx.Bucket(bucketTip).Put(keyTip, tip); err != nil {
			return fmt.Errorf("record tip: %w", err)
		}
	}
	return nil
}

// putBatch makes a batch's bucket, with a tip beside it unless that is nil.
func putBatch(tx *bbolt.Tx, b block, tip []byte) error {
	alone, err := tx.CreateBucket(seqKey(b.first))
	if err == nil {
		err = alone.Put(keyBatch, b.data)
	}
	if err == nil && tip != nil {
		err = alone.Put(keyTip, tip)
	}
	return err
}

// keySeq reads the name of a batch's bucket; 0 for that of another.
func keySeq(k []byte) wire.Seq {
	if len(k) != 8 {
		return 0
	}
	return wire.Seq(binary.BigEndian.Uint64(k))
}

// batch returns the batch at a place, and its first number; 0 if no batch is
// there.
func (c *cursor) batch() (n wire.Seq, data []byte, err error) {
	k, v, bucket, err := c.entry()
	if n = keySeq(k); err != nil || n == 0 || !bucket {
		return 0, nil, err
	}
	alone, err := c.t.sub(v)
	if err == nil {
		data, err = alone.get(keyBatch)
	}
	return n, data, err
}

// number returns the first number of the batch at a place, 0 if none is there.
func (c *cursor) number() wire.Seq {
	k, _, _, _ := c.entry()
	return keySeq(k)
}

// lastTip returns the record beside the last batch; nil if there is none.
func (t *tree) lastTip() ([]byte, error) {
	n, err := t.newest()
	if err != nil || n == 0 {
		return nil, err
	}
	alone, err := t.bucket(seqKey(n))
	if err != nil || alone == nil {
		return nil, err
	}
	return alone.get(keyTip)
}
