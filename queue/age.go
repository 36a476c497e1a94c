package queue

import (
	"context"
	"time"

	"github.com/fieldpost/fieldpost/internal/boot"
	"github.com/fieldpost/fieldpost/wire"
)

// A lane's age is how long it has existed, as far as that is certain: the time
// that passed while it was open, or while the machine ran or slept between two
// openings. A batch carries the lane's age at its commit, so how old it is does
// not depend on any clock that can be set (rule 14). What passed while the
// machine was off is added once a collector has agreed with the machine's clock
// before it was switched off and after.

// anchor says which age belongs to which time since the machine's start.
type anchor struct {
	boot wire.ID       // of which start, zero if that cannot be told
	at   time.Duration // since it
	age  time.Duration
}

// confirmed is a moment at which a collector agreed with the machine's clock.
type confirmed struct {
	wall time.Time // zero: there was none
	age  time.Duration
}

const (
	maxSkew       = 2 * time.Minute // a collector that differs more does not confirm the clock
	confirmAgain  = 24 * time.Hour
	expireAtMost  = 512 // batches that are looked at in one go
	expireRecheck = time.Minute
)

// clock tells a lane's age. It is set before the writer starts; afterwards the
// writer alone moves it.
type clock struct {
	anchor
	start    time.Time     // when this opening took the anchor
	boot     time.Duration // since the machine's start, then
	rebooted bool          // the machine was off since the lane's last opening, for how long is not known yet
}

// begin takes up an anchor that an earlier opening left, and the age at the last
// commit.
func (c *clock) begin(last anchor, committed time.Duration) {
	id, ok := boot.ID()
	c.start, c.boot = time.Now(), boot.Since()
	c.anchor = anchor{at: c.boot, age: last.age}
	if ok {
		c.anchor.boot = wire.ID(id)
	}
	if ok && last.boot == wire.ID(id) {
		c.anchor.age += max(0, c.boot-last.at)
	} else {
		c.rebooted = true
	}
	c.age = max(c.age, committed)
}

// now returns the lane's age.
func (c *clock) now() time.Duration {
	return c.age + max(time.Since(c.start), boot.Since()-c.boot)
}

// Confirm tells the lane a collector's time. If the machine's clock agrees with
// it, and did before the machine was last switched off, the time in between
// counts for the age of messages from now on. It returns once that is on disk.
func (q *Queue) Confirm(ctx context.Context, collector time.Time) error {
	wall := time.Now()
	if d := wall.Sub(collector); d.Abs() > maxSkew || q.policy().MaxAge == 0 {
		return nil
	}
	return q.do(ctx, func(c *change) (bool, error) {
		s, age := &c.state, q.clock.now()
		last := s.confirmed
		if !last.wall.IsZero() && !q.clock.rebooted && age-last.age < confirmAgain {
			return false, nil
		}
		if off := wall.Sub(last.wall) - (age - last.age); q.clock.rebooted && !last.wall.IsZero() && off > 0 {
			q.clock.age += off
			age += off
			q.log.Info("the time that the machine was off counts for the age of messages", "off", off.Round(time.Second))
		}
		q.clock.rebooted = false
		s.anchor, s.confirmed = q.anchorNow(), confirmed{wall.Round(0), age}
		c.link = true
		q.expireAt = time.Now()
		return true, nil
	})
}

// anchorNow is the anchor for the next opening.
func (q *Queue) anchorNow() anchor {
	return anchor{q.clock.anchor.boot, boot.Since(), q.clock.now()}
}

// expire gives up what is older than the lane's limit, as far as its commits are
// known to be: a batch expires by its newest message. It notes when to look again.
func (q *Queue) expire(now time.Time) error {
	q.mu.Lock()
	settled := q.settled()
	q.mu.Unlock()
	c := q.begin()
	s := &c.state
	limit := q.clock.now() - q.cfg.MaxAge
	q.expireAt = now.Add(min(q.cfg.MaxAge, expireRecheck))
	to, left, err := q.files.olderThan(s, max(settled+1, s.oldest), limit)
	switch {
	case err != nil:
		q.log.Warn("the age of the oldest messages cannot be read now", "error", err)
		return nil
	case left >= 0:
		q.expireAt = now.Add(max(left, 10*time.Millisecond))
	}
	if to == 0 {
		return nil
	}
	before := s.dropped[wire.ReasonExpired]
	if err := q.drop(c, to, wire.ReasonExpired); err != nil || !c.drops {
		return err
	}
	if q.tailSize() > minSegmentSize/2 && len(s.gaps(max(settled+1, s.oldest), s.next-1)) == 0 {
		c.fresh, q.rotateAt = true, 0 // nothing is left: the room comes back
	}
	q.log.Warn("messages have expired", "to", to, "count", s.dropped[wire.ReasonExpired]-before, "max_age", q.cfg.MaxAge)
	return q.commit(c)
}

// olderThan returns the last number from n on whose batch was committed at the
// lane's age limit or before, 0 if there is none, and how much later the next one
// was; -1 if there is no next one. It looks at a bounded number of batches: left
// is 0 if there may be more.
func (fs *files) olderThan(s *state, n wire.Seq, limit time.Duration) (to wire.Seq, left time.Duration, err error) {
	if g := s.gaps(n, s.next-1); len(g) == 0 {
		return 0, -1, nil
	} else {
		n = g[0].from
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	i := fs.index(n)
	if i < 0 {
		return 0, -1, nil // missing: Next finds out
	}
	left = -1
	// All of a segment is older than the one that follows it.
	for ; i+1 < len(fs.segs); i++ {
		h, err := fs.head(i + 1)
		if err != nil {
			return to, 0, err
		}
		if h.age > limit {
			left = h.age - limit // when all of this one is old enough
			break
		}
		to = fs.end(i, s.next-1)
	}
	f, err := fs.handle(i)
	if err != nil {
		return to, 0, err
	}
	end := fs.end(i, s.next-1)
	err = f.view(func(t *tree) error {
		c, err := t.floor(seqKey(max(n, to+1)))
		last := wire.Seq(0)
		for k := 0; err == nil; k++ {
			number := c.number()
			if number == 0 || number > end {
				break
			}
			if last > 0 && number-1 > to {
				to = number - 1
			}
			if k == expireAtMost {
				left = 0
				return nil
			}
			age, aerr := c.age()
			if aerr != nil {
				return aerr
			}
			if age > limit {
				left = age - limit
				return nil
			}
			last = number
			err = c.next()
		}
		if err == nil && last > 0 {
			to = end
		}
		return err
	})
	if i == len(fs.segs)-1 && to >= s.next {
		to = s.next - 1
	}
	return to, left, err
}

// age returns the lane's age at the commit of the batch at a place. Of a commit
// of several batches the last one has it; those of the commit that made the
// segment have the segment's, also if they were written again there.
func (c *cursor) age() (time.Duration, error) {
	at := &cursor{t: c.t, path: append([]step(nil), c.path...)}
	for at.number() > 0 {
		_, v, _, err := at.entry()
		if err != nil {
			return 0, err
		}
		alone, err := at.t.sub(v)
		if err != nil {
			return 0, err
		}
		b, err := alone.get(keyTip)
		if err != nil {
			return 0, err
		}
		if b != nil {
			var s state
			if _, err := s.parseTip(b); err != nil {
				return 0, err
			}
			if s.commit <= c.number() {
				return s.age, nil
			}
			break // of a later commit
		}
		if err := at.next(); err != nil {
			return 0, err
		}
	}
	meta, err := c.t.bucket(bucketMeta)
	if err == nil && meta == nil {
		err = c.t.damaged("it lacks its buckets")
	}
	if err != nil {
		return 0, err
	}
	h, err := meta.head()
	return h.age, err
}

// head returns the head of segment i. The caller holds mu.
func (fs *files) head(i int) (h head, err error) {
	seg := fs.segs[i]
	if h, ok := fs.heads[seg.ordinal]; ok {
		return h, nil
	}
	f, err := fs.handle(i)
	if err != nil {
		return h, err
	}
	h, err = f.readHead()
	if err == nil {
		if fs.heads == nil {
			fs.heads = map[uint64]head{}
		}
		h.history, h.agent, h.lane = nil, "", "" // what is needed of many is small
		fs.heads[seg.ordinal] = h
	}
	return h, err
}
