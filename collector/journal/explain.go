package journal

import (
	"time"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// Why says why numbers are not stored: the name of a tombstone's reason, or one of
// those below.
type Why string

// What is not a tombstone's reason.
const (
	WhyMissing     Why = "record-missing"       // they were settled, and their record is not there
	WhyUnexplained Why = "unexplained"          // they were announced and are in nobody's hands
	WhyPending     Why = "pending"              // they were announced, and the agent has them
	WhyRemoved     Why = "removed-by-retention" // they were stored or tombstoned in segments that retention has removed
)

// Range is a run of numbers of one incarnation that are not stored, with the
// reason. Tombstones that follow one another are one. As JSON its fields are named
// as tagged here.
type Range struct {
	Agent       wire.AgentID     `json:"agent"`
	Lane        wire.Lane        `json:"lane"`
	Epoch       wire.Epoch       `json:"epoch,omitzero"` // zero: not known any more
	Incarnation wire.Incarnation `json:"incarnation,omitzero"`
	From        wire.Seq         `json:"from"`
	To          wire.Seq         `json:"to"`
	Why         Why              `json:"why"`
	Detail      string           `json:"detail,omitempty"` // stored-in: the store

	Dropped     time.Time `json:"dropped,omitzero"`      // when they were dropped, the first of them; by the agent's clock
	DroppedLast time.Time `json:"dropped_last,omitzero"` // and the last
	Taken       time.Time `json:"taken,omitzero"`        // when this store took the first of their tombstones
	TakenLast   time.Time `json:"taken_last,omitzero"`   // and the last

	Closed *Closed `json:"closed,omitempty"` // an operator has accepted them
	Next   string  `json:"next"`             // what to do
}

// Closed says who has accepted numbers, when and why.
type Closed struct {
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
}

func closedBy(c *ledger.Closing) *Closed {
	if c == nil {
		return nil
	}
	return &Closed{c.Time, c.By, c.Reason}
}

// Numbers returns how many there are.
func (r *Range) Numbers() uint64 { return uint64(r.To - r.From + 1) }

// Next says what an operator does about numbers that are not stored for this
// reason.
func (w Why) Next() string {
	switch w {
	case Why(wire.ReasonExpired.String()):
		return "older than the lane's max_age when their turn came: bring the link back sooner, or raise max_age"
	case Why(wire.ReasonOverflow.String()):
		return "the lane was full: raise its max_bytes or max_messages, give it a larger disk, or send less"
	case Why(wire.ReasonPurged.String()):
		return "an operator of the agent has purged them: ask there"
	case Why(wire.ReasonCorrupt.String()):
		return "damaged on the agent's disk: look at that disk, and at the copies in its quarantine (agent queue verify)"
	case Why(wire.ReasonRejected.String()):
		return "refused by the store for good: the agent has them as dead letters (agent queue dead ls)"
	case Why(wire.ReasonStoredIn.String()):
		return "another store has them: keep that store's journal"
	case Why(wire.ReasonLostAtStore.String()):
		return "this store had them and was set back: take them from the newer copy if there is one, then accept it: collector audit close"
	case Why(wire.ReasonMissing.String()):
		return "a file of the agent's queue is gone: look at that disk, and ask who deletes files there"
	case WhyMissing:
		return "a record of this journal is damaged or gone: restore the file that collector verify names from a backup, or accept it: collector audit close"
	case WhyUnexplained:
		return "the agent's folder was lost or put back: ask the machine's owner, then accept it: collector audit close"
	case WhyPending:
		return "nothing: the agent delivers them when its link is up (collector agents)"
	case WhyRemoved:
		return "nothing: they were kept for as long as retention says"
	}
	return "look into docs/OPERATIONS.md"
}

// explain hands on a range.
func (a *auditor) explain(r Range) {
	if a.f == nil || a.err != nil {
		return
	}
	r.Next = r.Why.Next()
	if r.Closed != nil {
		r.Next = "nothing: accepted"
	}
	a.err = a.f(r)
}

// tombstone takes a tombstone for the explanation: with the ones before it if it
// follows them.
func (a *auditor) tombstone(t *tally, v *settled) {
	if a.f == nil {
		return
	}
	e := &v.entry
	r := Range{Agent: t.agent, Lane: t.stream.Lane, Epoch: t.stream.Epoch, Incarnation: e.Incarnation, From: e.From, To: e.To, Why: Why(e.Reason.String()),
		Detail: e.Detail, Dropped: e.Time, DroppedLast: e.Time, Taken: v.received, TakenLast: v.received}
	if o := t.open; o != nil && o.To+1 == r.From && o.Why == r.Why && o.Incarnation == r.Incarnation && o.Detail == r.Detail {
		o.To, o.TakenLast = r.To, r.Taken
		if o.Dropped.IsZero() {
			o.Dropped = r.Dropped
		}
		if !r.Dropped.IsZero() {
			o.DroppedLast = r.Dropped
		}
		return
	}
	a.flush(t)
	t.open = &r
}

// flush hands on the tombstones that nothing can follow any more. Of those that
// are lost at the store it is said which an operator has accepted.
func (a *auditor) flush(t *tally) {
	r := t.open
	if r == nil {
		return
	}
	t.open = nil
	if r.Why != Why(wire.ReasonLostAtStore.String()) {
		a.explain(*r)
		return
	}
	a.parts(t.agent, ledger.Accepted{Claim: ledger.ClaimLost, Lane: r.Lane, Epoch: r.Epoch, From: r.From, To: r.To}, *r)
}

// parts hands on a range, split where an operator has accepted a part of it, and
// returns what none has.
func (a *auditor) parts(id wire.AgentID, of ledger.Accepted, r Range) (open []ledger.Accepted) {
	st := a.accepted[id]
	if st == nil {
		a.explain(r)
		return []ledger.Accepted{of}
	}
	open = st.NotClosed(of)
	for n := r.From; n <= r.To; {
		p := r
		p.From, p.To = n, r.To
		if c := st.Closing(of, n); c != nil {
			p.Closed = closedBy(c)
			p.To = acceptedTo(c, &of, n, r.To)
		} else {
			for _, o := range open {
				if o.From <= n && n <= o.To {
					p.To = o.To
				}
			}
		}
		a.explain(p)
		n = p.To + 1
	}
	return open
}

// acceptedTo returns up to where, at most last, a closing goes from number n on.
func acceptedTo(c *ledger.Closing, of *ledger.Accepted, n, last wire.Seq) wire.Seq {
	for _, r := range c.Ranges {
		if r.About(of) && r.From <= n && n <= r.To {
			return min(r.To, last)
		}
	}
	return n
}
