package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Overflow says what becomes of messages that a lane has no room for: because of
// [Config.MaxBytes], [Config.MaxMessages] or [Config.FreeSpace], or because the
// disk is full.
type Overflow byte

// The policies.
const (
	Reject     Overflow = iota // Put returns ErrFull, and no number is used
	Block                      // Put waits for room until its context ends
	DropOldest                 // the oldest messages make room; a tombstone stands for them
	DropNewest                 // Put returns ErrDropped; a tombstone stands for the message
)

var overflows = [...]string{"reject", "block", "drop-oldest", "drop-newest"}

func (o Overflow) String() string {
	if int(o) < len(overflows) {
		return overflows[o]
	}
	return fmt.Sprintf("overflow(%d)", byte(o))
}

// MarshalText returns the policy's name.
func (o Overflow) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads a policy's name.
func (o *Overflow) UnmarshalText(b []byte) error {
	for i, name := range overflows {
		if name == string(b) {
			*o = Overflow(i)
			return nil
		}
	}
	return fmt.Errorf("overflow %q is none of reject, block, drop-oldest and drop-newest", b)
}

const (
	// MinMaxBytes is the least that Config.MaxBytes can be.
	MinMaxBytes = 8 * minSegmentSize

	pagesPerCommit = 32 << 10        // bytes that a commit takes beside its batches, at most
	roomPause      = time.Second / 4 // between looks at what is free on the disk, or tries to write on a full one
	unsyncedBytes  = 1 << 20         // of a lane with an interval that are not kept waiting for its end
)

// limits checks a policy and completes it.
func (cfg *Config) limits() error {
	switch {
	case cfg.MaxBytes < 0 || cfg.MaxBytes > 0 && cfg.MaxBytes < MinMaxBytes:
		return fmt.Errorf("lane %s: %d bytes at most, the least that can be set is %d", cfg.Lane, cfg.MaxBytes, MinMaxBytes)
	case cfg.MaxAge < 0 || cfg.Interval < 0 || int(cfg.Overflow) >= len(overflows):
		return fmt.Errorf("lane %s: max age %s, interval %s, overflow %s: one is out of range", cfg.Lane, cfg.MaxAge, cfg.Interval, cfg.Overflow)
	}
	return nil
}

// room reports why a put has no room at the moment, nil if it has. The caller
// holds mu.
func (q *Queue) room(p *put) error {
	waiting, count := 0, uint64(0)
	if q.waiting != nil {
		waiting, count = q.waiting.bytes, q.waiting.count
	}
	waiting, count = waiting+q.taken.bytes, count+q.taken.count
	used, held := q.cfg.strand.others()
	used += q.used
	switch {
	case q.low != nil:
		return q.low
	case q.cfg.MaxBytes > 0 && used+int64(waiting+len(p.buf))+pagesPerCommit+q.cfg.reserve() > q.cfg.MaxBytes:
		return fmt.Errorf("lane %s has %d bytes on disk, and may have %d", q.cfg.Lane, used, q.cfg.MaxBytes)
	case q.cfg.MaxMessages > 0:
		if have := q.shown.backlog(q.settled()) + held + count; have+p.count() > q.cfg.MaxMessages {
			return fmt.Errorf("lane %s holds %d messages, and may hold %d", q.cfg.Lane, have, q.cfg.MaxMessages)
		}
	}
	return nil
}

// never reports why a put cannot have room even in an empty lane.
func (q *Queue) never(p *put) error {
	switch {
	case q.cfg.MaxBytes > 0 && int64(len(p.buf))+2*pagesPerCommit > q.cfg.MaxBytes/2:
		return fmt.Errorf("%w: %d bytes in one call are more than half of what lane %s may have on disk; hand them in in parts", ErrTooLarge, len(p.buf), q.cfg.Lane)
	case q.cfg.MaxMessages > 0 && p.count() > q.cfg.MaxMessages:
		return fmt.Errorf("%w: %d messages in one call, lane %s may hold %d; hand them in in parts", ErrTooLarge, p.count(), q.cfg.Lane, q.cfg.MaxMessages)
	}
	return nil
}

// admit applies the policy to a put: it waits, refuses, or marks the put as one
// that leaves only a tombstone. The caller holds mu, and holds it on return.
func (q *Queue) admit(ctx context.Context, p *put) error {
	if err := q.never(p); err != nil {
		return err
	}
	for !q.closing {
		full := q.room(p)
		switch crowded := q.crowded(p); {
		case full != nil && q.cfg.Overflow == Reject:
			return errFull(full)
		case full != nil && q.cfg.Overflow == DropNewest:
			p.dropped = true
			return nil
		case !crowded && (full == nil || q.cfg.Overflow == DropOldest):
			return nil
		}
		if q.roomAsked == nil {
			q.roomAsked = make(chan struct{})
		}
		asked := q.roomAsked
		q.mu.Unlock()
		var err error
		select {
		case <-asked:
		case <-ctx.Done():
			err = ctx.Err()
		}
		q.mu.Lock()
		if err != nil {
			return err
		}
	}
	return ErrClosed
}

// crowded reports whether a put has to wait for the writer to take others: one
// group is bounded, and never more than the lane may hold. The caller holds mu.
func (q *Queue) crowded(p *put) bool {
	w := q.waiting
	if w == nil || w.count == 0 {
		return false
	}
	most := int64(maxWaiting)
	if q.cfg.MaxBytes > 0 {
		most = min(most, q.cfg.MaxBytes/2)
	}
	return int64(w.bytes+len(p.buf)) > most || q.cfg.MaxMessages > 0 && w.count+p.count() > q.cfg.MaxMessages
}

// tellRoom wakes who waits for room. The caller holds mu.
func (q *Queue) tellRoom() {
	if q.roomAsked != nil {
		close(q.roomAsked)
		q.roomAsked = nil
	}
}

// freeOf returns how many bytes of the disk that holds dir a user may still fill;
// tests fill and free the disk with it.
var freeOf = func(dir string) (int64, error) {
	free, _, err := diskSpace(dir)
	return free, err
}

// defaultFree is what stays free where nobody says how much.
func defaultFree(dir string) (int64, error) {
	_, total, err := diskSpace(dir)
	return min(total/20, 512<<20), err
}

// look finds out whether the disk has less free than it must keep. It does so
// at most every [roomPause].
func (q *Queue) look(now time.Time) {
	if q.cfg.FreeSpace <= 0 || now.Before(q.looked.Add(roomPause)) {
		return
	}
	q.looked = now
	free, err := freeOf(q.cfg.Dir)
	var low error
	if err == nil && free < q.cfg.FreeSpace {
		low = fmt.Errorf("the disk of lane %s has %d bytes free, and %d are to stay free", q.cfg.Lane, free, q.cfg.FreeSpace)
	}
	q.setLow(low)
}

// setLow notes why nothing may grow, nil if it may.
func (q *Queue) setLow(low error) {
	q.mu.Lock()
	before := q.low
	if q.low = low; low == nil && before != nil {
		q.tellRoom()
	}
	q.mu.Unlock()
	switch {
	case before == nil && low != nil:
		q.log.Error("the disk is nearly full: the lane does not grow", "overflow", q.cfg.Overflow, "error", low)
	case before != nil && low == nil:
		q.log.Info("the disk has room again")
	}
}

// serve commits a group, or keeps it for later where its callers wait for room.
func (q *Queue) serve(g *group) {
	err := q.store(g)
	if q.waits(g, err) {
		q.parked = g
		q.mu.Lock()
		g.taken = false
		q.mu.Unlock()
		q.parkedTill = time.Now().Add(roomPause)
		return
	}
	if err != nil && g.unheard && !errors.Is(err, ErrUncertain) {
		q.forgone += g.count // the lane is closing; nobody waits for the answer
		q.log.Error("messages that were taken at the end of an interval could not be stored before the lane was closed", "count", g.count, "error", err)
	}
	q.mu.Lock()
	q.taken = load{}
	q.tellRoom()
	q.mu.Unlock()
	g.finish(err)
}

// waits reports whether a failed group is tried again: nobody would hear of the
// failure, or everybody waits for room.
func (q *Queue) waits(g *group, err error) bool {
	if err == nil || errors.Is(err, ErrUncertain) || !errors.Is(err, ErrFull) || q.isClosing() {
		return false
	}
	return g.unheard || q.cfg.Overflow == Block && isSpace(err)
}

func (q *Queue) isClosing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closing
}

// next returns the group to commit now, nil if there is none.
func (q *Queue) nextGroup() *group {
	if g := q.parked; g != nil {
		if !q.isClosing() && time.Now().Before(q.parkedTill) {
			return nil
		}
		q.parked = nil
		q.mu.Lock()
		g.taken = true
		q.mu.Unlock()
		return g
	}
	return q.take()
}

// makeRoom gives the oldest messages up until a group fits (DropOldest): those of
// older streams first. The tombstones are part of the group's own commit.
func (q *Queue) makeRoom(c *change, g *group) error {
	if q.cfg.Overflow != DropOldest {
		return nil
	}
	q.mu.Lock()
	settled, used, low := q.settled(), q.used, q.low
	q.mu.Unlock()
	usedElse, heldElse := q.cfg.strand.others()
	over, need := int64(0), int64(0)
	if q.cfg.MaxMessages > 0 {
		over = max(0, int64(c.state.backlog(settled)+heldElse+g.count)-int64(q.cfg.MaxMessages))
	}
	if q.cfg.MaxBytes > 0 {
		need = max(0, used+usedElse+int64(g.bytes)+pagesPerCommit+q.cfg.reserve()-q.cfg.MaxBytes)
	}
	if low != nil {
		need = max(need, int64(g.bytes)+pagesPerCommit)
	}
	if over == 0 && need == 0 {
		return nil
	}
	freed, fewer := q.cfg.strand.yield(need, uint64(over))
	if err := q.dropOldest(c, max(0, need-freed), uint64(over)-min(uint64(over), fewer)); err != nil {
		return err
	}
	if low != nil && !c.drops && freed == 0 {
		return low
	}
	return nil
}

// dropOldest gives the oldest messages up, until so many bytes on disk and
// messages are gone or nothing is left.
func (q *Queue) dropOldest(c *change, bytes int64, count uint64) error {
	q.mu.Lock()
	settled := q.settled()
	q.mu.Unlock()
	s := &c.state
	to := wire.Seq(0)
	if count > 0 {
		n, err := q.upTo(s, settled, count)
		if err != nil {
			return err
		}
		to = n
	}
	q.files.mu.Lock()
	segs := append([]segment(nil), q.files.segs...)
	q.files.mu.Unlock()
	for i := 0; i < len(segs) && bytes > 0; i++ {
		end := s.next - 1
		if i+1 < len(segs) {
			end = segs[i+1].first - 1
		} else {
			c.fresh, q.rotateAt = true, 0 // the tail's room comes back once another file has taken its place
		}
		to = max(to, end)
		bytes -= q.sizeOf(segs[i])
	}
	return q.drop(c, to, wire.ReasonOverflow)
}

// upTo returns the last number of the batch that holds the n-th number above
// settled which is data.
func (q *Queue) upTo(s *state, settled wire.Seq, n uint64) (wire.Seq, error) {
	for _, part := range s.gaps(max(settled+1, s.oldest), s.next-1) {
		if size := uint64(part.to - part.from + 1); size < n {
			n -= size
			continue
		}
		at := part.from + wire.Seq(n) - 1
		blocks, err := q.files.read(s, at)
		if g := (*gap)(nil); errors.As(err, &g) {
			return g.to, nil
		}
		if err != nil {
			return 0, err
		}
		return min(blocks[0].last, part.to), nil
	}
	return s.next - 1, nil
}

// drop adds tombstones for all numbers above the acks up to to.
func (q *Queue) drop(c *change, to wire.Seq, reason wire.Reason) error {
	s := &c.state
	q.mu.Lock()
	acked := max(q.acked(), s.acked())
	q.mu.Unlock()
	from := max(acked+1, s.oldest)
	if to = min(to, s.next-1); from > to {
		return nil
	}
	if list := q.tombstones(s, from, to, reason); len(list) > 0 {
		q.entomb(c, list...)
		q.log.Debug("messages are dropped", "from", from, "to", to, "reason", reason)
	}
	return nil
}

// tombstones returns those for the numbers of a range that have none, cut at the
// boundaries (rule 8).
func (q *Queue) tombstones(s *state, from, to wire.Seq, reason wire.Reason) (list []tombstone) {
	now := time.Now()
	for _, part := range s.gaps(from, to) {
		for a := part.from; a <= part.to; {
			b := s.history.End(a, part.to)
			fp, _ := q.files.fingerprint(s, b)
			list = append(list, tombstone{span: span{a, b}, reason: reason, time: now, fingerprint: fp})
			a = b + 1
		}
	}
	return list
}

// sizeOf is what a segment takes on disk, in bytes.
func (q *Queue) sizeOf(s segment) int64 {
	if t := q.files.tail; t != nil && t.ordinal == s.ordinal {
		return t.size
	}
	return q.sizes[s.ordinal]
}

// sync waits until all that was handed in before has been written, also where an
// interval would leave it waiting. It returns ctx's error; not whether that
// succeeded.
func (q *Queue) sync(ctx context.Context) error {
	q.mu.Lock()
	g, interval := q.last, q.cfg.Interval
	q.flushAt = time.Time{}
	q.mu.Unlock()
	if g == nil || interval == 0 && !g.unheard {
		return nil
	}
	q.kick()
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
