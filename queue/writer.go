package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/bbolt"
)

// When a file whose messages are delivered makes way for an empty one.
const (
	deliveredSize = 4 << 20         // bytes of it
	rotatePause   = 5 * time.Second // between two such files of a lane under traffic
)

// How long the writer waits before it tries again to write what is uncertain.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
)

// write is the writer goroutine: the only one that changes the lane. Each turn
// commits what waits, in this order: what is uncertain, other steps, puts with
// the acks that have come, acks alone.
func (q *Queue) write() {
	defer close(q.ended)
	for {
		closing := q.sleep()
		if q.stuck != nil && (closing || !time.Now().Before(q.retryAt)) {
			q.retry()
		}
		for o := q.nextOp(); o != nil; o = q.nextOp() {
			o.done <- q.step(o.run)
		}
		if now := time.Now(); q.cfg.FreeSpace > 0 {
			q.look(now)
		}
		for g := q.nextGroup(); g != nil; g = q.nextGroup() {
			if q.serve(g); !closing { // else there may be one behind it
				break
			}
		}
		if q.stuck == nil && q.cfg.MaxAge > 0 && !time.Now().Before(q.expireAt) {
			if err := q.expire(time.Now()); err != nil {
				q.log.Warn("what is too old could not be dropped; it is tried again", "error", err)
			}
		}
		if q.ackDue() {
			q.storeAck()
		}
		q.calm()
		if closing {
			q.closeErr = q.shut()
			return
		}
	}
}

// sleep waits until there is something to do; true if the queue is closing.
func (q *Queue) sleep() (closing bool) {
	for {
		q.mu.Lock()
		closing = q.closing
		now := time.Now()
		busy := closing || len(q.ops) > 0 || q.parked == nil && q.ripe(now)
		due := q.ackAt
		if q.stuck != nil {
			due = q.retryAt
		}
		if q.parked != nil {
			due = earlier(due, q.parkedTill)
		} else if q.waiting != nil {
			due = earlier(due, q.flushAt)
		}
		if q.low != nil {
			due = earlier(due, q.looked.Add(roomPause))
		}
		if q.cfg.MaxAge > 0 && q.stuck == nil && q.shown.next > 1 {
			due = earlier(due, q.expireAt)
		}
		q.mu.Unlock()
		if busy || !due.IsZero() && !time.Now().Before(due) {
			return closing
		}
		if due.IsZero() {
			<-q.wake
			continue
		}
		t := time.NewTimer(time.Until(due))
		select {
		case <-q.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// earlier returns the earlier of two times, of which a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (q *Queue) nextOp() *op {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ops) == 0 {
		return nil
	}
	o := q.ops[0]
	q.ops = q.ops[1:]
	return o
}

// begin returns a change that holds nothing yet but the acks that have come.
func (q *Queue) begin() *change {
	q.mu.Lock()
	c := &change{state: q.shown}
	pending, sure := q.pending, q.sure
	q.mu.Unlock()
	c.state.clean = false
	c.state.age = q.clock.now()
	c.state.commit, c.state.letter = c.state.next, c.state.dead
	c.sure = len(sure)
	c.drops, c.late = c.state.heed(sure, pending)
	return c
}

// store commits a group of puts.
func (q *Queue) store(g *group) error {
	if q.stuck != nil {
		return q.blocked()
	}
	err := q.append(g)
	if errors.Is(err, ErrFull) && (q.spent() && q.renew() == nil || q.shed(err, g) == nil) {
		err = q.append(g)
	}
	if errors.Is(err, ErrFull) && isSpace(err) && q.cfg.Overflow == DropNewest && q.decline(g) == nil {
		err = nil
	}
	return err
}

// decline leaves tombstones for a group that a full disk has no room for
// (DropNewest).
func (q *Queue) decline(g *group) error {
	c := q.begin()
	for _, p := range g.puts {
		c.lose(p)
		c.note(p.inputs)
	}
	err := q.commit(c)
	if err == nil {
		for _, p := range g.puts {
			p.dropped = true
		}
	}
	return err
}

// shed gives the oldest messages up on a full disk, in a commit of its own: what
// it frees is needed for the next one (DropOldest).
func (q *Queue) shed(full error, g *group) error {
	if q.cfg.Overflow != DropOldest || !isSpace(full) || q.stuck != nil {
		return full
	}
	c := q.begin()
	q.mu.Lock()
	low := q.low
	q.low = full
	q.mu.Unlock()
	err := q.makeRoom(c, g)
	q.mu.Lock()
	q.low = low
	q.mu.Unlock()
	if err == nil && !c.drops {
		err = full
	}
	if err == nil {
		err = q.commit(c)
	}
	return err
}

func (q *Queue) append(g *group) error {
	if err := q.ballast.fill(); err != nil {
		return q.fail(err)
	}
	c := q.begin()
	c.spares = true
	if err := q.makeRoom(c, g); err != nil {
		return errFull(err)
	}
	q.pack(c, g)
	if len(c.blocks) == 0 && !c.drops {
		return nil
	}
	return q.commit(c)
}

// spent reports whether the disk has no room while the lane's files hold nothing
// but what is delivered.
func (q *Queue) spent() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return isSpace(q.failing) && q.settled() == q.shown.next-1 &&
		(len(q.files.segs) > 1 || q.ballast.size > 0 && q.tailSize() > minSegmentSize/2)
}

// renew commits the acks, into a new segment if the old one is not small, so that
// what is delivered gives its room back.
func (q *Queue) renew() error {
	c := q.begin()
	c.silent, c.fresh = true, true
	q.rotateAt = 0
	return q.commit(c)
}

// step runs one op and commits what it changed. One that changes nothing need
// not wait for the disk to get well.
func (q *Queue) step(run func(c *change) (bool, error)) error {
	c := q.begin()
	commit, err := run(c)
	switch {
	case err != nil || !commit:
		return err
	case q.stuck != nil:
		return q.blocked()
	}
	return q.commit(c)
}

// blocked is what everyone is told while something uncertain goes first.
func (q *Queue) blocked() error { return errFull(q.failed()) }

// failed returns why nothing can be stored at the moment, nil if it can.
func (q *Queue) failed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failing
}

// ackDue reports whether an ack has waited long enough for company.
func (q *Queue) ackDue() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stuck == nil && !q.ackAt.IsZero() && (q.closing || !time.Now().Before(q.ackAt))
}

// storeAck commits acks alone. A failure is logged: the ack is asked for again
// by the next commit, and until then nothing is deleted.
func (q *Queue) storeAck() {
	c := q.begin()
	c.silent = true
	q.mu.Lock()
	q.ackAt = time.Time{}
	q.mu.Unlock()
	q.freshen(c)
	if err := q.commit(c); err != nil {
		q.log.Warn("acks could not be written; they will be with the next commit", "error", err)
		q.mu.Lock()
		if q.ackAt.IsZero() {
			q.ackAt = time.Now().Add(lastBackoff)
		}
		q.mu.Unlock()
	}
}

// freshen lets a change that acks all there is go into a new file, unless the old
// one is small: it gives the disk back.
func (q *Queue) freshen(c *change) {
	large := min(q.cfg.SegmentSize/2, deliveredSize)
	if s := q.cfg.strand; s != nil && s.retired.Load() {
		large = minSegmentSize / 2 // it will not grow again
	}
	if c.state.acked() == c.state.next-1 && q.tailSize() > large {
		q.rotateAt = 0
		c.fresh = true
	}
}

// commit makes a change durable: nil, or an error that is [ErrFull] (certainly
// not stored) or [ErrUncertain].
func (q *Queue) commit(c *change) error {
	tail := q.files.tail
	size, lost := q.tailSize(), tail.broken() != nil || tail.db == nil || tail.spent
	full := size >= q.rotateAt && size > minSegmentSize/2 && (c.fresh || size+c.size() > q.cfg.SegmentSize || q.keepsUp(c, size))
	if full || lost {
		err := q.rotate(c)
		if err == nil || errors.Is(err, ErrUncertain) || lost {
			return q.settle(c, err)
		}
		// No new file can be made now. The old one may grow meanwhile.
		q.log.Warn("no new segment; the old one goes on", "error", err)
		q.rotateAt = size + q.cfg.SegmentSize/16
	}
	q.reclaim(c, q.files.segs)
	err := tail.commit(c.state.clean, func(tx *bbolt.Tx) error { return c.write(tx, nil) })
	if err == nil {
		err = tail.linked()
	}
	if err == nil {
		q.proven = proven{tail.ordinal, tail.meta.tx}
		q.publish(c)
		return nil
	}
	var not *notStored
	certain := errors.As(err, &not)
	// A search of the file must never find what was refused: whatever comes next
	// goes into another file.
	tail.spent = tail.spent || certain && len(c.blocks) > 0
	if certain && isSpace(err) {
		if !c.spares && q.ballast.release() {
			return q.commit(c)
		}
		return q.fail(err)
	}
	// The file is not written any more. What it holds up to its last good commit
	// stays readable; the same bytes under the same numbers go into a new one.
	level := slog.LevelError
	if certain && q.failed() != nil {
		level = slog.LevelDebug // a disk that takes nothing says so for each put
	}
	q.log.Log(context.Background(), level, "segment sealed after a failed commit; the same messages go into a new one", "segment", tail.path, "stored", !certain, "error", err)
	if !certain {
		q.doubted = true
		if err := q.files.rollBack(q.proven.tx); err != nil {
			q.log.Warn("the failed commit could not be taken back; the next opening does it", "segment", tail.path, "error", err)
		}
	}
	rerr := q.rotate(c)
	switch {
	case rerr == nil:
		return nil
	case certain && !errors.Is(rerr, ErrUncertain):
		return q.fail(err)
	}
	if u := (*uncertain)(nil); errors.As(rerr, &u) {
		rerr = u.cause
	}
	return q.doubt(c, fmt.Errorf("%w, and then: %w", err, rerr))
}

// publish shows a committed change, and deletes the files it made useless.
func (q *Queue) publish(c *change) {
	used := q.older + q.tailSize()
	for _, s := range c.gone {
		used -= q.sizes[s.ordinal]
	}
	q.mu.Lock()
	q.shown, q.used = c.state, used
	q.buried()
	q.sure = q.sure[c.sure:]
	q.tellRoom()
	q.commits++
	q.countAcked()
	q.syncs.note(q.files.tail.synced)
	q.recent.add(c.blocks)
	if q.pending.upto <= c.state.acked() {
		q.pending, q.ackAt = mark{}, time.Time{}
	}
	// Where there was no room for messages, room for an ack says nothing.
	recovered := q.failing != nil && (len(c.blocks) > 0 || !isSpace(q.failing))
	if recovered {
		q.failing = nil
	}
	q.mu.Unlock()
	if recovered {
		q.log.Info("storing works again")
	}
	if c.late > 0 {
		q.log.Info("what was given up had reached the store before: it is stored, and not counted as dropped", "count", c.late)
	}
	q.remind()
	q.note()
	q.unlink(c.gone)
	if q.cfg.Synced != nil && !c.silent {
		q.cfg.Synced()
	}
}

// keepsUp reports whether nearly all of the tail is delivered, so that another
// file gives its room back soon. A lane under traffic never has all delivered.
func (q *Queue) keepsUp(c *change, size int64) bool {
	if size < 2*deliveredSize || time.Since(q.rotated) < rotatePause {
		return false
	}
	s := &c.state
	q.mu.Lock()
	settled := q.settled()
	q.mu.Unlock()
	return 8*uint64(s.next-1-settled) < uint64(s.next-q.files.tail.first)
}

func (q *Queue) tailSize() int64 {
	if q.files.tail == nil {
		return 0
	}
	return q.files.tail.size
}

// shut ends the writer: the clean mark, all handles, the lock. Nothing waits any
// more: what came before closing was set has been written.
func (q *Queue) shut() error {
	var err error
	switch {
	case q.stuck != nil:
		err = &uncertain{q.failed()}
	case !q.doubted:
		c := q.begin()
		c.state.clean, c.silent = true, true
		err = q.commit(c)
	}
	q.removals.Wait()
	if cerr := q.files.close(); err == nil && cerr != nil {
		err = fmt.Errorf("queue %s: %w", q.cfg.Dir, cerr)
	}
	q.memo.close()
	if cerr := q.lock.Close(); err == nil {
		err = cerr
	}
	if q.forgone > 0 && err == nil {
		err = fmt.Errorf("queue %s: %d messages of the last interval are lost: %w", q.cfg.Dir, q.forgone, ErrFull)
	}
	q.log.Debug("lane closed", "next", q.snapshot().next, "error", err)
	return err
}
