package sim

import (
	"bytes"
	"math/rand/v2"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/wire"
)

// policy is what a schedule lets its lanes do with messages, besides storing and
// sending them. The zero policy lets them do nothing else.
type policy struct {
	lanes  map[string]agent.LaneConfig
	poison bool // the store refuses some messages for good
	purge  bool // an operator purges lanes
}

// drawPolicy draws the lanes' limits. Every third schedule has some.
func drawPolicy(seed uint64, r *rand.Rand) policy {
	p := policy{lanes: map[string]agent.LaneConfig{}}
	if seed/3%3 != 1 { // as many of them with a journal as without
		for _, lane := range lanes {
			p.lanes[lane] = agent.LaneConfig{SegmentSize: segmentSize, LiveFirst: drawLiveFirst(r)}
		}
		return p
	}
	p.poison, p.purge = r.IntN(3) == 0, r.IntN(2) == 0
	for _, lane := range lanes {
		c := agent.LaneConfig{SegmentSize: segmentSize, Priority: r.IntN(3) - 1}
		c.Overflow = []agent.Overflow{agent.Reject, agent.Block, agent.DropOldest, agent.DropNewest}[r.IntN(4)]
		c.Compression = []agent.Codec{agent.CodecNone, agent.CodecS2, agent.CodecZstd}[r.IntN(3)]
		if r.IntN(3) > 0 {
			c.MaxMessages = 8 + r.Uint64N(30) // more than one call hands in
		} else {
			c.MaxBytes = 512 << 10
		}
		if r.IntN(2) == 0 {
			c.MaxAge = time.Second + time.Duration(r.Int64N(int64(30*time.Second)))
		}
		if r.IntN(4) == 0 {
			c.SyncInterval = 100*time.Millisecond + time.Duration(r.Int64N(int64(2*time.Second)))
		}
		c.LiveFirst = drawLiveFirst(r)
		p.lanes[lane] = c
	}
	return p
}

// drawLiveFirst draws after which outage new messages of a lane go ahead; every
// other lane does not have it.
func drawLiveFirst(r *rand.Rand) time.Duration {
	if r.IntN(2) == 0 {
		return 0
	}
	return time.Second + time.Duration(r.Int64N(int64(4*time.Second)))
}

// longestBlock is how long Send waits at most for room in a lane that blocks.
const longestBlock = 20 * time.Second

// limited reports whether a lane may be full while the disk is well.
func limited(c agent.LaneConfig) bool { return c.MaxBytes > 0 || c.MaxMessages > 0 }

// allows reports whether a lane may give messages up for a reason.
func (p *policy) allows(lane string, reason wire.Reason) bool {
	c := p.lanes[lane]
	switch reason {
	case wire.ReasonExpired:
		return c.MaxAge > 0
	case wire.ReasonOverflow:
		return c.Overflow == agent.DropOldest || c.Overflow == agent.DropNewest
	case wire.ReasonRejected:
		return p.poison
	case wire.ReasonPurged:
		return p.purge
	}
	return false
}

// poison marks a message that the store refuses.
var poison = []byte("poison ")

// poisoned returns the first number of an entry, above w, that the store refuses;
// 0 if there is none.
func poisoned(e *wire.Entry, w wire.Seq) wire.Seq {
	if e.IsTombstone() {
		return 0
	}
	b, err := wire.ParseBatch(e.Batch)
	if err != nil {
		return 0
	}
	for n, err := range b.Records() {
		if err != nil {
			return 0
		}
		if n.Seq <= w || n.Seq < e.From || n.Seq > e.To {
			continue
		}
		if m, err := n.Record.Message(); err == nil && bytes.Contains(m.Body[:min(len(m.Body), 64)], poison) {
			return n.Seq
		}
	}
	return 0
}

// weaken says of what a lane with an interval accepted last that nobody knows
// whether it is on disk: what its last sync does not cover. since is when the
// disk began to fail, zero if it did not. w.mu is held.
func (w *world) weaken(l *life, since time.Time) {
	now := time.Now()
	for _, t := range w.sent {
		interval := w.policy.lanes[t.m.Lane].SyncInterval
		if t.life != l || interval == 0 || t.outcome == refused {
			continue
		}
		from := now
		if !since.IsZero() {
			from = since
		}
		if !t.end.Before(from.Add(-interval)) {
			t.outcome = unknown
		}
	}
}

// overdue looks for messages that a lane still has long after their age. It knows
// for certain only while the process that took them runs.
func (w *world) overdue() {
	for _, m := range w.machines {
		// What a store had acked that was set back or replaced is kept: it is sent again.
		if m.life == nil || w.copied || len(w.center.earlier) > 0 || m.disk.hurt() {
			continue
		}
		for _, s := range m.life.a.Status().Lanes {
			c := w.policy.lanes[s.Lane]
			if c.MaxAge == 0 || !s.Oldest.After(m.life.begin) { // at its begin: one that was taken over
				continue
			}
			// With an interval a message may wait for the group before its own, and its time
			// is from before that.
			most := c.MaxAge + 2*c.SyncInterval + time.Second
			if c.Overflow == agent.Block {
				most += longestBlock // it has its time from before it waited for room
			}
			if age := time.Since(s.Oldest); age > most {
				w.fault("%s: lane %s still has a message of %s, and may keep it for %s: %+v", m.life.name, s.Lane, age, c.MaxAge, s)
			}
		}
	}
}
