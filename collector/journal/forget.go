package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// ErrNoAgent is returned by [Journal.Forget] for an agent that the journal does not
// know, or that is forgotten already.
var ErrNoAgent = errors.New("the journal knows no such agent")

// Forget gives an agent up, durably: it is in no list any more, its session is
// fenced, and what it had announced and not delivered is given up. What it has
// delivered stays, and of its streams as much is kept as it takes not to store a
// message twice if it comes back; audit tells of it. After a year, and once retention
// has removed all that was stored before, nothing is kept. By and Reason of e are cut to
// [ledger.MaxCloseText] bytes. Its ctx counts until the commit begins.
func (j *Journal) Forget(ctx context.Context, id wire.AgentID, e ledger.Forgotten) error {
	e.By, e.Reason, e.Time = clip(e.By), clip(e.Reason), wallClock(e.Time)
	given := uint64(0)
	err := j.submit(ctx, func(t *group) error {
		a, ok := t.staged[id]
		if !ok {
			a = t.state[id]
		}
		if a == nil || a.Forgotten() != nil {
			return ErrNoAgent
		}
		e.Record = t.index
		t.add(&forgotten{id: id, Forgotten: e})
		given = t.agent(id).Forgotten().GivenUp
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget agent %s: %w", id, err)
	}
	j.log.Warn("an operator has given an agent up", "agent", id, "by", e.By, "reason", e.Reason, "given_up_messages", given)
	return nil
}

// rememberFor is how long at least a forgotten agent's streams are remembered: its
// folder may still hold what was stored here and what retention has removed since, and
// whoever has read that would read it again.
const rememberFor = 365 * 24 * time.Hour

// letGo lets go of agents that were forgotten long ago and of which retention has left
// nothing. Only the writer calls it.
func (j *Journal) letGo(now time.Time) error {
	done := func(f *ledger.Forgetting) bool {
		return f != nil && f.Record <= j.removed.index && now.Sub(f.Time) > rememberFor
	}
	for id, a := range j.state {
		if !done(a.Forgotten()) {
			continue
		}
		err := j.ride(func(t *group) error {
			if f := t.agent(id).Forgotten(); done(f) {
				t.add(&forgotten{id: id, Forgotten: ledger.Forgotten{Time: f.Time, By: f.By, Reason: f.Reason, Record: f.Record}, gone: true})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// room reports whether an agent is known, or one more may be.
func (t *group) room(id wire.AgentID, limit int) error {
	known := func(a *ledger.Agent) bool { return a != nil && a.Forgotten() == nil }
	if a, ok := t.staged[id]; ok && known(a) || !ok && known(t.state[id]) {
		return nil
	}
	n := 0
	for k, a := range t.state {
		if _, changed := t.staged[k]; !changed && known(a) {
			n++
		}
	}
	for _, a := range t.staged {
		if known(a) {
			n++
		}
	}
	if n >= limit {
		return fmt.Errorf("%w: it knows %d of at most %d agents: forget those that are gone (collector agents forget), or raise limits.agents", collector.ErrLimit, n, limit)
	}
	return nil
}

// oneMore reports whether an agent may have one more stream.
func (j *Journal) oneMore(a *ledger.Agent) error {
	if a.Len() < j.opts.MaxStreams {
		return nil
	}
	return fmt.Errorf("%w: it has %d streams, the limit is limits.streams: each folder that was lost, restored or cloned makes some. Find out why it has so many; then raise the limit, or forget the agent and give it another id",
		ledger.ErrLimit, a.Len())
}

// letGo forgets all that was counted of an agent of which nothing is left.
func (a *auditor) letGo(id wire.AgentID) {
	for _, t := range a.tallies[id] {
		delete(a.tags, tagOf(id, t.stream))
	}
	delete(a.tallies, id)
	for l := range a.settled {
		if l.agent == id {
			delete(a.settled, l)
		}
	}
}
