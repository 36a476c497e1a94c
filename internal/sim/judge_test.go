package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

func newContents() *contents {
	return &contents{ends: map[string]wire.Seq{}, drop: map[string]counts{}}
}

// take adds what a store holds next. Every stream must be whole. id is the
// store's.
func (c *contents) take(s *collector.Stored, id wire.StoreID) error {
	e, agent, lane := &s.Entry, string(s.Agent), string(s.Stream.Lane)
	if err := c.extend(streamOf(agent, lane, s.Stream.Epoch), e); err != nil {
		return err
	}
	if e.IsTombstone() {
		d := oracle.Declaration{Agent: agent, Lane: lane, Incarnation: e.Incarnation.String(), From: uint64(e.From), To: uint64(e.To)}
		switch e.Reason {
		case wire.ReasonLostAtStore:
			d.Store = id.String()
		case wire.ReasonStoredIn:
			d.Store = e.Detail
		default:
			c.giveUp(agent, lane, s.Stream.Epoch, e)
			return nil
		}
		c.told = append(c.told, d)
		return nil
	}
	b, err := wire.ParseBatch(e.Batch)
	if err != nil {
		return err
	}
	for n, err := range b.Records() {
		if err != nil {
			return err
		}
		if n.Seq < e.From || n.Seq > e.To {
			continue
		}
		m, err := n.Record.Message()
		if err != nil {
			return err
		}
		c.held = append(c.held, oracle.Stored{Agent: agent, Lane: lane, Incarnation: e.Incarnation.String(), Seq: uint64(n.Seq),
			Topic: m.Topic, Body: bytes.Clone(m.Body)})
	}
	return nil
}

func all(list []oracle.Stored) iter.Seq2[oracle.Stored, error] {
	return func(yield func(oracle.Stored, error) bool) {
		for _, s := range list {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// placeOf names the number of a message, for all time.
func placeOf(s *oracle.Stored) string {
	return fmt.Sprintf("%s %s %s %d", s.Agent, s.Lane, s.Incarnation, s.Seq)
}

// judge compares what was accepted with what is stored. The collector has ended.
func (w *world) judge() error {
	c := w.center
	c.age = 0 // nothing more goes while it is looked at
	if err := c.open(nil); err != nil {
		return err
	}
	defer c.close()
	now, err := c.contents()
	if err != nil {
		return err
	}
	covered, err := w.match(now)
	if err != nil {
		return err
	}
	var sent, before oracle.Sent
	for lane, c := range w.policy.lanes {
		if c.LiveFirst > 0 {
			sent.Apart(lane)
			before.Apart(lane)
		}
	}
	for _, t := range w.sent {
		outcome := t.outcome
		if outcome == toldDropped {
			outcome = refused
		}
		before.Add(t.m, outcome)
		if covered[t] {
			outcome = refused // the store says so
		}
		sent.Add(t.m, outcome)
	}
	for _, e := range c.earlier {
		v, err := before.Judge(all(e.held))
		if err != nil {
			return err
		}
		if v.Doubled+v.Misplaced+v.Foreign > 0 { // much may be missing then
			return fmt.Errorf("store %s, before another took its place: %s", e.store, &v)
		}
		if err := sent.Earlier(e.store.String(), all(e.held)); err != nil {
			return err
		}
	}
	for _, d := range now.told {
		sent.Declare(d)
	}
	v, err := sent.Judge(all(now.held))
	if err != nil {
		return err
	}
	if !v.OK() {
		return errors.New(v.String())
	}
	w.tally = v.Tally
	w.resent(now.held, now.told)
	if err := w.agree(now); err != nil {
		return err
	}
	return w.audit(now)
}

// resent counts what became of the messages that a store had lost.
func (w *world) resent(held []oracle.Stored, told []oracle.Declaration) {
	now := map[string]bool{}
	for i := range held {
		now[placeOf(&held[i])] = true
	}
	declared := map[string]bool{}
	for _, d := range told {
		for n := d.From; n <= d.To; n++ {
			declared[fmt.Sprintf("%s %s %s %d", d.Agent, d.Lane, d.Incarnation, n)] = true
		}
	}
	what := map[string]bool{}
	for _, e := range w.center.earlier {
		for i := range e.held {
			p := placeOf(&e.held[i])
			switch {
			case e.kept == nil && declared[p]:
				what["another store: told what the old one has"] = true
			case e.kept == nil || e.kept[p]:
			case now[p]:
				what["store behind: what it lost is sent again"] = true
			case declared[p]:
				what["store behind: what is lost is declared"] = true
			}
		}
	}
	for s := range what {
		w.saw(s)
	}
}

// audit lets the store judge itself.
func (w *world) audit(now *contents) error {
	c := w.center
	if !c.files {
		for _, m := range w.machines {
			if l := c.memory.Ledger(wire.AgentID(m.id)); l != nil && len(l.Unexplained()) > 0 {
				return fmt.Errorf("%s: the ledger cannot explain %+v", m.id, l.Unexplained())
			}
		}
		return nil
	}
	r, err := journal.Audit(context.Background(), c.dir)
	if err != nil {
		return err
	}
	for _, f := range r.Findings {
		if f.Kind != journal.KindLost {
			return fmt.Errorf("audit: %+v", f)
		}
	}
	left, err := c.left()
	if err != nil {
		return err
	}
	tombstoned := counts{}
	for _, s := range r.Streams {
		if s.Removed > 0 {
			w.saw("retention: an audit knows of what is removed")
		}
		if s.Pending > 0 {
			return fmt.Errorf("audit: everything is delivered, and this is pending: %+v", s)
		}
		if got, known := now.ends[streamOf(string(s.Agent), string(s.Lane), s.Epoch)]; known && got != s.W {
			return fmt.Errorf("audit: its entries end at %d: %+v", got, s)
		}
		for reason, n := range s.Tombstoned {
			tombstoned[reason] += n
		}
	}
	for _, g := range left {
		tombstoned[g.reason]--
	}
	for reason, n := range tombstoned {
		if n != 0 && reason != wire.ReasonLostAtStore && reason != wire.ReasonStoredIn {
			return fmt.Errorf("audit: it counts %d more numbers as %s than the entries have", int64(n), reason)
		}
	}
	return nil
}
