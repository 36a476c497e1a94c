package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// agents is the state of a journal: all that its records say. The agents are
// shared with readers and not changed in place; see [ledger.Agent.Clone].
type agents map[wire.AgentID]*ledger.Agent

// apply changes the state in place by one event, for a replay.
func (m agents) apply(e event) {
	id := e.agent()
	if id == "" {
		return
	}
	if f, ok := e.(*forgotten); ok && f.gone {
		delete(m, id)
		return
	}
	a := m[id]
	if a == nil {
		a = &ledger.Agent{}
		m[id] = a
	}
	e.apply(a)
}

// appendSnapshot appends the state: the count of agents (4 bytes), and for each,
// in order of the ids, its id and the ledger's snapshot.
func (m agents) appendSnapshot(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m)))
	for _, id := range m.ids() {
		dst = appendString(dst, id)
		dst = m[id].AppendSnapshot(dst)
	}
	return dst
}

func (m agents) ids() []wire.AgentID {
	ids := make([]wire.AgentID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// parseSnapshot reads what appendSnapshot wrote, in this version or an older one.
func parseSnapshot(b []byte, version int) (agents, error) {
	d := decoder{b: b}
	n := binary.BigEndian.Uint32(d.take(4))
	m := agents{}
	for range n {
		id, err := wire.ParseAgentID(d.string())
		if err != nil {
			d.fail("%w", err)
		}
		if d.err != nil {
			return nil, fmt.Errorf("snapshot: %w", d.err)
		}
		a, rest, err := ledger.ParseSnapshot(d.b, version)
		if err != nil {
			return nil, fmt.Errorf("agent %s: %w", id, err)
		}
		m[id], d.b = a, rest
	}
	switch {
	case d.err != nil:
		return nil, fmt.Errorf("snapshot: %w", d.err)
	case len(d.b) > 0:
		return nil, fmt.Errorf("snapshot: %d bytes behind its end", len(d.b))
	case len(m) != int(n):
		return nil, errors.New("snapshot: an agent stands in it twice")
	}
	return m, nil
}
