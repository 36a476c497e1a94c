package queue

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

// put is the encoded messages of one call.
type put struct {
	buf     []byte // records one after another
	chunks  []chunk
	last    int         // where its last record begins
	dropped bool        // no room: only a tombstone is left of it
	done    func(error) // PutAsync: called by the writer; nil for Put
	unheard bool        // an interval's: its caller has been told that it is taken
	inputs  map[string]checkpoint
}

// count is how many messages there are.
func (p *put) count() (n uint64) {
	for _, ch := range p.chunks {
		n += uint64(ch.count)
	}
	return n
}

// outcome is what a put is told, whose group met err.
func (p *put) outcome(err error) error {
	if err == nil && p.dropped {
		return fmt.Errorf("%w: the lane is full, and set to drop what is new", ErrDropped)
	}
	return err
}

// load is how much somebody has.
type load struct {
	bytes int
	count uint64
}

// chunk is records that go into one batch together.
type chunk struct {
	end   int // in buf; it begins where the one before ends
	count uint32
}

// group is the puts that one transaction will hold. They share its fate.
type group struct {
	puts []*put
	load
	unheard bool          // it has puts whose callers will not hear of a failure
	taken   bool          // by the writer; from then on the outcome is the commit's
	done    chan struct{} // closed with err set
	err     error
}

var puts = sync.Pool{New: func() any { return new(put) }}

// free gives a put back; one very large call must not be remembered for ever.
func (p *put) free() {
	if cap(p.buf) <= 4*batchTarget {
		p.done, p.inputs = nil, nil
		puts.Put(p)
	}
}

// encode checks and encodes messages. It keeps nothing of them.
func encode(msgs []wire.Message) (*put, error) {
	p := puts.Get().(*put)
	p.buf, p.chunks, p.done, p.dropped, p.unheard, p.inputs = p.buf[:0], p.chunks[:0], nil, false, false, nil
	start := 0
	for i := range msgs {
		before := len(p.buf)
		p.last = before
		var err error
		if p.buf, err = wire.AppendRecord(p.buf, &msgs[i]); err == nil && len(p.buf) > MaxPut {
			err = fmt.Errorf("%w: %d messages of more than %d bytes in one call; hand them in in parts", ErrTooLarge, len(msgs), MaxPut)
		}
		if err != nil {
			p.free()
			if len(msgs) > 1 {
				return nil, fmt.Errorf("message %d of %d: %w", i+1, len(msgs), err)
			}
			return nil, err
		}
		if k := len(p.chunks) - 1; k >= 0 && len(p.buf)-start <= batchTarget {
			p.chunks[k].end = len(p.buf)
			p.chunks[k].count++
		} else {
			p.chunks = append(p.chunks, chunk{len(p.buf), 1})
			start = before
		}
	}
	return p, nil
}

// Put stores messages, all or none, and returns nil once they are on disk. The
// caller keeps the messages. They get consecutive numbers, in order.
//
// Errors: ctx's own (match with [errors.Is]), [ErrFull], [ErrTooLarge],
// [ErrClosed] and a message that breaks a limit mean certainly not stored;
// [ErrDropped], by the lane's policy, that a tombstone stands for the messages.
// [ErrUncertain] means that ctx ended, or the disk failed, after the messages
// were handed to the disk. While the lane waits for the disk to get well, Put
// returns ErrFull with the cause at once.
func (q *Queue) Put(ctx context.Context, msgs ...wire.Message) error {
	return q.put(ctx, msgs, nil)
}

// put is Put with the checkpoints that the messages come with.
func (q *Queue) put(ctx context.Context, msgs []wire.Message, inputs map[string]checkpoint) error {
	if err := ctx.Err(); err != nil || len(msgs) == 0 {
		return err
	}
	p, err := encode(msgs)
	if err != nil {
		return err
	}
	p.inputs = inputs
	unheard := q.policy().Interval > 0
	if p.unheard = unheard; unheard {
		p.done = func(error) {}
	}
	g, dropped, err := q.enqueue(ctx, p)
	if err != nil {
		p.free()
		return err
	}
	if unheard { // p is the writer's now
		return (&put{dropped: dropped}).outcome(nil)
	}
	if sabotage.NoSync {
		return nil
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		q.mu.Lock()
		taken := g.taken
		if !taken {
			g.puts = slices.DeleteFunc(g.puts, func(o *put) bool { return o == p })
			g.bytes -= len(p.buf)
			g.count -= p.count()
			q.tellRoom()
		}
		q.mu.Unlock()
		if taken {
			return fmt.Errorf("%w: %v while it was being written", ErrUncertain, context.Cause(ctx))
		}
		return ctx.Err()
	}
	err = p.outcome(g.err)
	p.free()
	return err
}

// PutAsync is Put for a caller who does not wait: done is called exactly once,
// with what Put would have returned. All done functions of a queue are called in
// the order of the calls, by the goroutine that writes: they must not block and
// must not call Put. PutAsync itself blocks while 8 MiB wait to be written. An
// error means certainly not stored, and done is not called.
func (q *Queue) PutAsync(msgs []wire.Message, done func(error)) error {
	p, err := encode(msgs)
	if err != nil {
		return err
	}
	p.done = done
	if _, _, err := q.enqueue(context.Background(), p); err != nil {
		p.free()
		return err
	}
	return nil
}

// enqueue adds a put to the waiting group, when the policy lets it; dropped says
// that only a tombstone will be left of it.
func (q *Queue) enqueue(ctx context.Context, p *put) (g *group, dropped bool, err error) {
	q.mu.Lock()
	if err := q.admit(ctx, p); err != nil {
		q.mu.Unlock()
		return nil, false, err
	}
	dropped = p.dropped
	first := false
	if g = q.waiting; g == nil {
		g, first = &group{done: make(chan struct{})}, true
		q.waiting, q.last = g, g
		q.flushAt = time.Now().Add(q.cfg.Interval)
	}
	g.puts = append(g.puts, p)
	g.unheard = g.unheard || q.cfg.Interval > 0 || p.unheard
	g.bytes += len(p.buf)
	g.count += p.count()
	first = first || q.cfg.Interval > 0 && g.bytes >= unsyncedBytes
	q.mu.Unlock()
	if first {
		q.kick()
	}
	return g, dropped, nil
}

// maxYields is how often the writer lets callers in before it seals a group:
// those that the last commit woke are about to come back.
const maxYields = 8

// take seals the waiting group. nil if nobody waits.
func (q *Queue) take() *group {
	q.mu.Lock()
	if !q.ripe(time.Now()) {
		q.mu.Unlock()
		return nil
	}
	for i, last := 0, -1; i < maxYields && q.waiting != nil && len(q.waiting.puts) != last; i++ {
		last = len(q.waiting.puts)
		q.mu.Unlock()
		runtime.Gosched()
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	g := q.waiting
	if g == nil {
		return nil
	}
	q.waiting, g.taken = nil, true
	q.taken = g.load
	q.tellRoom()
	return g
}

// ripe reports whether the waiting group is to be taken. The caller holds mu.
func (q *Queue) ripe(now time.Time) bool {
	return q.waiting != nil && (q.cfg.Interval == 0 || q.closing || !now.Before(q.flushAt) || q.waiting.bytes >= unsyncedBytes)
}

// pack makes batches of a group's records.
func (q *Queue) pack(c *change, g *group) {
	c.state.commit = c.state.next
	live := c.state.live()
	var count uint32
	seal := func(records []byte) {
		h := wire.BatchHeader{Lane: q.cfg.Lane, Epoch: c.state.epoch, Incarnation: live, First: c.state.next, Count: count, Codec: q.cfg.Codec}
		var data []byte
		if h.Codec == wire.CodecNone {
			data = wire.AppendBatch(make([]byte, 0, len(records)+128), h, records)
		} else { // it needs more room on the way than in the end
			q.packed = wire.AppendBatch(q.packed[:0], h, records)
			data = bytes.Clone(q.packed)
		}
		c.keep(block{h.First, h.Last(), data})
		c.state.accepted += uint64(count)
		count = 0
	}
	raw := q.raw[:0]
	for _, p := range g.puts {
		c.note(p.inputs)
		if p.dropped {
			if len(raw) > 0 {
				seal(raw)
				raw = raw[:0]
			}
			c.lose(p)
			continue
		}
		start := 0
		for _, ch := range p.chunks {
			records := p.buf[start:ch.end]
			start = ch.end
			if len(raw) > 0 && len(raw)+len(records) > batchTarget {
				seal(raw)
				raw = raw[:0]
			}
			if count += ch.count; len(raw) == 0 && len(records) >= batchTarget/2 {
				seal(records) // large enough as it is: not copied once more
				continue
			}
			raw = append(raw, records...)
		}
	}
	if len(raw) > 0 {
		seal(raw)
	}
	if q.raw = raw; cap(raw) > 4*batchTarget {
		q.raw = nil
	}
	if cap(q.packed) > 4*batchTarget {
		q.packed = nil
	}
}

// lose leaves a tombstone for the messages of a put (DropNewest).
func (c *change) lose(p *put) {
	s := &c.state
	n := wire.Seq(p.count())
	_, prefix := binary.Uvarint(p.buf[p.last:]) // a record has its length in front
	t := tombstone{span: span{s.next, s.next + n - 1}, reason: wire.ReasonOverflow, time: time.Now(), fingerprint: wire.Record(p.buf[p.last+prefix:]).Fingerprint()}
	s.next += n
	s.drop(t)
	c.drops = true
}

// finish tells everyone in a group what became of it.
func (g *group) finish(err error) {
	g.err = err
	for _, p := range g.puts {
		if p.done != nil {
			p.done(p.outcome(err))
			p.free()
		}
	}
	close(g.done) // from here on the other puts are their callers' again
}

// errFull is ErrFull with a cause.
func errFull(cause error) error {
	if errors.Is(cause, ErrFull) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrFull, cause)
}
