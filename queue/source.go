package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Lane returns the lane's name.
func (q *Queue) Lane() wire.Lane { return q.cfg.Lane }

// Store returns the store that the lane last obeyed, zero before its first
// welcome.
func (q *Queue) Store() wire.StoreID {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.shown.store
}

// Streams returns what a hello says of the lane: its one stream, synced state
// only. The caller owns the result.
func (q *Queue) Streams() []wire.StreamState {
	q.mu.Lock()
	defer q.mu.Unlock()
	return []wire.StreamState{q.told(&q.shown).Window(q.asked.below, maxTold)}
}

// told is what there is to tell of a state, in one hello or in several.
func (q *Queue) told(s *state) wire.StreamState {
	return wire.StreamState{Lane: q.cfg.Lane, Epoch: s.epoch, Next: s.next, Acked: s.acked(), Boundaries: s.history}
}

// maxStale is how many hellos in a row may be too old to tell a copy of the
// folder, made since then, from a memory that went back. Under steady traffic each
// hello is old when it is answered; a memory that went back must not wait for ever.
const maxStale = 3

// maxTold is how many boundaries one hello tells; tests lower it.
var maxTold = wire.MaxHelloBounds

// asked is how far down the last hello went into a history that one hello cannot
// hold, and of which store.
type asked struct {
	store wire.StoreID
	below wire.Seq // 0: the newest part was told
}

// located returns an error if m does not say yet where the two lines part, because
// the hello held only a part of the history: an older part, or the newest again,
// is to be told with the next hello. To take "nothing in common" for an answer
// would send everything twice.
func (q *Queue) located(store wire.StoreID, said wire.StreamState, m wire.Match) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.asked
	q.asked = asked{}
	switch lowest := said.Boundaries[0].First; {
	case before.below > 0 && (store != before.store || m.Found && m.W > said.Last()):
	case m.Common == 0 && lowest > q.shown.history[0].First:
		q.asked = asked{store, lowest}
	default:
		return nil
	}
	return fmt.Errorf("lane %s: its history of %d openings is too long for one hello, and the common point with the store is in another part; connect again", q.cfg.Lane, len(q.shown.history))
}

// Welcome takes a store's answer to said, which Streams returned before. It
// relabels, forks, adopts the store's epoch or keeps the lane's own, obeys the
// store from now on, and returns once all that is on disk, with the resume of
// each stream (its stream number is the caller's to set). Acks up to the common
// points follow. That the store may stand in for the one obeyed before is for
// the caller to have checked (rule 4). After an error nothing may be sent.
func (q *Queue) Welcome(ctx context.Context, store wire.StoreID, said []wire.StreamState, matches []wire.Match) ([]wire.Resume, error) {
	if len(said) != 1 || len(matches) != 1 {
		return nil, fmt.Errorf("lane %s: a welcome for %d streams answers %d, the lane has 1", q.cfg.Lane, len(matches), len(said))
	}
	if store.IsZero() {
		return nil, fmt.Errorf("lane %s: a welcome of a store without an id", q.cfg.Lane)
	}
	if err := checkMatch(said[0], matches[0]); err != nil {
		return nil, err
	}
	if err := q.located(store, said[0], matches[0]); err != nil {
		return nil, err
	}
	var v verdict
	var old state
	inc := wire.Incarnation{ID: wire.NewID()}
	err := q.do(ctx, func(c *change) (bool, error) {
		old = c.state
		if said[0].Epoch != old.epoch {
			return false, fmt.Errorf("lane %s: the welcome answers epoch %s, the lane is in %s by now; connect again", q.cfg.Lane, said[0].Epoch, old.epoch)
		}
		if matches[0].Beyond && said[0].Next < old.next && q.stale < maxStale {
			q.stale++
			return false, fmt.Errorf("lane %s: the store has numbers of this opening from %d on, and the lane has written such since its hello: whether they are the same, the next hello tells; connect again", q.cfg.Lane, said[0].Next)
		}
		q.stale = 0
		v = decide(&old, said[0], matches[0], func(n wire.Seq) (wire.Fingerprint, bool) { return q.files.fingerprint(&old, n) }, func() wire.Epoch { return wire.Epoch{ID: wire.NewID()} })
		s := &c.state
		q.mu.Lock()
		q.handed = v.end // the new session has ended all that was on its way in the one before
		q.mu.Unlock()
		if v.relabel == 0 && v.epoch == s.epoch && store == s.store {
			return false, nil // nothing to make durable
		}
		c.link = true
		if v.relabel > 0 {
			s.relabel(v.relabel, inc)
			s.rolledBack++
		}
		if v.forked {
			s.forks++
		}
		s.epoch, s.store = v.epoch, store
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	q.report(&old, store, matches[0], v)
	s := q.obey(v)
	base := min(v.end, s.next-1)
	r := q.told(&s).Around(base, maxTold)
	q.mu.Lock()
	q.announceable = r.Next // what lies behind is announced once its incarnation is known to the store
	q.mu.Unlock()
	return []wire.Resume{{Lane: q.cfg.Lane, Epoch: s.epoch, Base: base, Next: r.Next, Boundaries: r.Boundaries}}, nil
}

// obey notes what a committed welcome allows, and forbids: what the store lacks
// is not deleted, whatever was acked. It returns the state after it.
func (q *Queue) obey(v verdict) state {
	q.mu.Lock()
	q.behind = 0
	if v.end < q.acked() {
		q.behind = v.end + 1
	}
	q.mu.Unlock()
	q.Ack(v.epoch, v.end)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.welcomed = true
	return q.shown
}

// report says loudly what a welcome has shown.
func (q *Queue) report(old *state, store wire.StoreID, m wire.Match, v verdict) {
	log := q.log.With("store", store, "common", m.Common, "w", m.W, "acked", old.acked(), "next", old.next)
	if !old.store.IsZero() && old.store != store {
		log.Warn("another store is obeyed now", "before", old.store)
	}
	if v.relabel > 0 {
		log.Error("memory went back: messages may be stored twice", "from", v.relabel, "to", old.next-1, "why", v.why)
	}
	if v.forked {
		log.Error("rolled back: this folder and the store have parted; what is above the common point goes on under a new epoch", "from", v.end+1, "before", old.epoch, "epoch", v.epoch)
	}
	if v.adopted {
		log.Info("the store's epoch is taken over", "before", old.epoch, "epoch", v.epoch)
	}
	if v.behind {
		log.Error("the store is behind what was acked; what is still held is sent again, the rest is declared", "from", m.W+1, "to", old.acked())
	}
	if v.unchecked && m.Found && m.Common > 0 {
		log.Debug("the common point's fingerprint is not known on both sides")
	}
}

// Ack notes that the store has all numbers up to w. It returns at once; the ack
// is committed with the next puts, or alone after Config.AckDelay.
func (q *Queue) Ack(epoch wire.Epoch, w wire.Seq) {
	q.mu.Lock()
	w = min(w, q.shown.next-1)
	was := q.acked()
	if epoch != q.shown.epoch || w <= was && q.behind == 0 {
		q.mu.Unlock()
		return
	}
	if q.behind > 0 && w >= q.behind {
		if q.behind = w + 1; w >= was {
			q.behind = 0
		}
		q.tellAcked()
	}
	if w <= was {
		q.mu.Unlock()
		return
	}
	if q.pending.upto == 0 || q.pending.store == q.shown.store {
		q.pending = mark{q.shown.store, w}
	}
	q.countAcked()
	// The acks of tombstones for refused numbers are no progress: a run of
	// refusals goes on until something is stored.
	if len(q.shown.gaps(was+1, w)) > 0 {
		q.refusals = 0
	}
	q.recent.trim(w)
	q.tellAcked()
	first := q.ackAt.IsZero()
	if first {
		q.ackAt = time.Now().Add(q.cfg.AckDelay)
	}
	q.mu.Unlock()
	if first {
		q.kick()
	}
}

// tellAcked wakes who waits for acks. The caller holds mu.
func (q *Queue) tellAcked() {
	if q.ackMoved != nil {
		close(q.ackMoved)
		q.ackMoved = nil
	}
}

// Announce returns how far the stream goes; false if it has another epoch by now.
// It may be called concurrently with everything else.
func (q *Queue) Announce(epoch wire.Epoch) (wire.Announcement, bool) {
	q.mu.Lock()
	s, acked, upto := q.shown, q.settled(), q.announceable
	q.mu.Unlock()
	if newest := s.history[len(s.history)-1].First; upto == 0 || upto >= newest || acked >= newest {
		upto = s.next
	}
	if epoch != s.epoch {
		return wire.Announcement{}, false
	}
	a := wire.Announcement{Next: max(upto, acked+1), BacklogBytes: q.backlogBytes(&s, acked)}
	if t := q.timeOf(&s, acked+1); !t.IsZero() {
		a.OldestAge = max(0, time.Since(t))
	}
	return a, true
}
