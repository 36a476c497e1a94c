package queue

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"go.etcd.io/bbolt"

	"github.com/fieldpost/fieldpost/wire"
)

// Checkpoint says how far an input has read a source. It is stored in the
// transaction of the messages it comes with: after a crash either both are there
// or neither, so that an input which goes on from its checkpoints reads nothing
// twice and leaves nothing out.
type Checkpoint struct {
	Source string // names what is read, as a file; 1 to 1,024 bytes
	At     []byte // what the input needs to go on, at most 1,024 bytes; nil forgets the source
}

// MaxCheckpoints is how many sources a lane remembers. One more is refused.
const MaxCheckpoints = 10_000

const maxCheckpoint = 1 << 10 // bytes of a source's name, and of what is kept of it

// checkpoint is what a lane keeps of a source. Of several the highest version is
// the newest: a source may have one in each of a lane's streams.
type checkpoint struct {
	version uint64
	at      []byte
}

var bucketInput = []byte("input") // source to checkpoint

func (c *Checkpoint) check() error {
	switch {
	case c.Source == "" || len(c.Source) > maxCheckpoint:
		return fmt.Errorf("checkpoint: the source's name has %d bytes, want 1 to %d", len(c.Source), maxCheckpoint)
	case len(c.At) > maxCheckpoint:
		return fmt.Errorf("checkpoint of %q: %d bytes, want at most %d", c.Source, len(c.At), maxCheckpoint)
	}
	return nil
}

// PutFrom is [Queue.Put] for messages that an input has read: the checkpoints are
// stored with them, also where the lane's policy drops the messages ([ErrDropped]).
// Without messages the checkpoints are stored alone. Of one source only one call
// may run at a time.
func (q *Queue) PutFrom(ctx context.Context, msgs []wire.Message, list ...Checkpoint) error {
	moved := make(map[string]checkpoint, len(list))
	q.mu.Lock()
	known := len(q.shown.inputs)
	for i := range list {
		if err := list[i].check(); err != nil {
			q.mu.Unlock()
			return err
		}
		if _, ok := q.shown.inputs[list[i].Source]; !ok && list[i].At != nil {
			known++
		}
		moved[list[i].Source] = checkpoint{q.version(), bytes.Clone(list[i].At)}
	}
	q.mu.Unlock()
	if known > MaxCheckpoints {
		return fmt.Errorf("checkpoint of %q: lane %s knows %d sources already; forget some", list[len(list)-1].Source, q.cfg.Lane, MaxCheckpoints)
	}
	if len(msgs) > 0 {
		return q.put(ctx, msgs, moved)
	}
	if err := q.sync(ctx); err != nil { // of one source nothing overtakes
		return err
	}
	return q.do(ctx, func(c *change) (bool, error) {
		c.note(moved)
		c.silent = true
		return len(moved) > 0, nil
	})
}

// version returns a number above all that checkpoints of the lane have. The
// caller holds mu.
func (q *Queue) version() uint64 {
	if s := q.cfg.strand; s != nil {
		return s.lane.version.Add(1)
	}
	q.versions++
	return q.versions
}

// note adds checkpoints to the change.
func (c *change) note(moved map[string]checkpoint) {
	if len(moved) == 0 {
		return
	}
	if c.inputs == nil {
		c.inputs = map[string]checkpoint{}
		c.state.inputs = maps.Clone(c.state.inputs)
	}
	if c.state.inputs == nil {
		c.state.inputs = map[string]checkpoint{}
	}
	for source, p := range moved {
		c.inputs[source], c.state.inputs[source] = p, p
		if p.at == nil {
			delete(c.state.inputs, source)
		}
	}
}

// putInputs writes what has changed of the checkpoints, or, into a new file, all.
func (c *change) putInputs(tx *bbolt.Tx, all bool) error {
	list := c.inputs
	if all {
		list = c.state.inputs
	}
	if len(list) == 0 {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(bucketInput)
	for source, p := range list {
		if err != nil {
			break
		}
		if p.at == nil {
			err = b.Delete([]byte(source))
			continue
		}
		err = b.Put([]byte(source), appendInput(nil, &p))
	}
	if err != nil {
		return fmt.Errorf("checkpoints: %w", err)
	}
	return nil
}

// readInputs reads a file's checkpoints.
func (t *tree) readInputs() (map[string]checkpoint, error) {
	b, err := t.bucket(bucketInput)
	if err != nil || b == nil {
		return nil, err
	}
	list := map[string]checkpoint{}
	c, err := b.floor(nil)
	for err == nil {
		k, v, _, kerr := c.entry()
		if k == nil || kerr != nil {
			return list, kerr
		}
		p, perr := parseInput(v)
		if perr != nil {
			return nil, perr
		}
		list[string(k)] = p
		err = c.next()
	}
	return nil, err
}

// newestVersion returns the highest version of some checkpoints.
func newestVersion(list map[string]checkpoint) (n uint64) {
	for _, p := range list {
		n = max(n, p.version)
	}
	return n
}

// Checkpoints returns how far the sources were read whose messages went into the
// lane. The caller owns the result.
func (l *Lane) Checkpoints() []Checkpoint {
	newest := map[string]checkpoint{}
	for _, s := range l.list() {
		for source, p := range s.q.snapshot().inputs {
			if have, ok := newest[source]; !ok || have.version < p.version {
				newest[source] = p
			}
		}
	}
	var list []Checkpoint
	for source, p := range newest {
		list = append(list, Checkpoint{source, bytes.Clone(p.at)})
	}
	return list
}

// PutFrom is [Queue.PutFrom].
func (l *Lane) PutFrom(ctx context.Context, msgs []wire.Message, list ...Checkpoint) error {
	for _, c := range list {
		if c.At != nil {
			continue
		}
		for _, s := range l.list() { // a stream that has an older one must forget it too
			if s.retired.Load() && s.q.snapshot().inputs[c.Source].at != nil {
				if err := s.q.PutFrom(ctx, nil, c); err != nil {
					return err
				}
			}
		}
	}
	return l.live().q.PutFrom(ctx, msgs, list...)
}
