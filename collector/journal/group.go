package journal

import (
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// group is one commit: the records of transactions that share one write and one
// fsync, and the state as it will be after it.
type group struct {
	seed   uint32
	state  agents // of the last commit; not changed
	staged agents // agents that this commit changes; nil for one that it takes out
	index  uint64 // of the next record
	before summary
	buf    []byte
	open   int // offset in buf of the record that endRecord has not seen, -1 if none
	count  uint64
}

// agent returns an agent's state for a look: what transactions before in the
// same group have left.
func (g *group) agent(id wire.AgentID) *ledger.Agent {
	a, ok := g.staged[id]
	if !ok {
		a = g.state[id]
	}
	if a == nil {
		a = &ledger.Agent{}
	}
	return a
}

// add records an event and applies it to the staged state.
func (g *group) add(e event) {
	if g.open >= 0 {
		endRecord(g.buf[g.open:], g.seed, false)
	}
	g.open = len(g.buf)
	g.buf = beginRecord(g.buf, g.index, e.kind(), g.before)
	g.buf = e.append(g.buf)
	g.index++
	g.count++
	g.before = summary{}
	if s, ok := e.(*settled); ok {
		g.before = s.summary()
	}
	id := e.agent()
	if id == "" {
		return
	}
	if f, ok := e.(*forgotten); ok && f.gone {
		g.staged[id] = nil
		return
	}
	a := g.staged[id]
	if a == nil {
		a = g.agent(id).Clone()
		g.staged[id] = a
	}
	e.apply(a)
}

// seal completes the last record.
func (g *group) seal() {
	if g.open >= 0 {
		endRecord(g.buf[g.open:], g.seed, true)
		g.open = -1
	}
}
