package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// Memory is a store in memory: the ledger's rules and nothing else. It is for
// tests of what stands on a store, and it shows how small a store can be. It
// forgets everything with the process. Make one with [NewMemory].
type Memory struct {
	identity collector.Identity

	mu     sync.Mutex
	agents map[wire.AgentID]*ledger.Agent
	log    []collector.Stored
}

// NewMemory returns an empty store with a random id.
func NewMemory() *Memory {
	return &Memory{identity: collector.Identity{ID: wire.StoreID{ID: wire.NewID()}}, agents: map[wire.AgentID]*ledger.Agent{}}
}

// Identity implements [collector.Store].
func (m *Memory) Identity() collector.Identity { return m.identity }

// Replaces declares that this store replaces others. Call it before the store is
// used.
func (m *Memory) Replaces(ids ...wire.StoreID) *Memory {
	m.identity.Replaces = append(m.identity.Replaces, ids...)
	return m
}

// Hello implements [collector.Store].
func (m *Memory) Hello(ctx context.Context, h collector.Hello) (collector.Grant, error) {
	if err := ctx.Err(); err != nil {
		return collector.Grant{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[h.Agent]
	if a == nil {
		a = &ledger.Agent{}
		m.agents[h.Agent] = a
	}
	granted := a.Hello(&h.Hello, len(h.Streams), h.Address, h.Time, wire.NewID())
	g := collector.Grant{Session: granted.Session}
	for i := range h.Streams {
		g.Matches = append(g.Matches, a.Match(&h.Streams[i], m.lookup(h.Agent)))
	}
	a.ApplyHello(granted)
	return g, nil
}

// lookup finds fingerprints in the records that are kept.
func (m *Memory) lookup(id wire.AgentID) ledger.Lookup {
	return func(lane wire.Lane, epoch wire.Epoch, n wire.Seq) wire.Fingerprint {
		for i := range m.log {
			r := &m.log[i]
			if r.Agent == id && r.Stream == (collector.Stream{Lane: lane, Epoch: epoch}) && r.Entry.From <= n && n <= r.Entry.To {
				return ledger.Fingerprint(&r.Entry, n)
			}
		}
		return 0
	}
}

// session returns the agent of s if s is its live session.
func (m *Memory) session(s collector.Session) (*ledger.Agent, error) {
	a := m.agents[s.Agent]
	if a == nil || !a.Live(s.Session) {
		return nil, fmt.Errorf("agent %s, session %d: %w", s.Agent, s.Number, collector.ErrFenced)
	}
	return a, nil
}

// Resume implements [collector.Store].
func (m *Memory) Resume(ctx context.Context, s collector.Session, r wire.Resume) (wire.Seq, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a, err := m.session(s)
	if err != nil {
		return 0, err
	}
	e, err := a.Resume(&r, m.lookup(s.Agent))
	if errors.Is(err, ledger.ErrMoved) {
		return 0, fmt.Errorf("agent %s: %w: %w: %w", s.Agent, collector.ErrMoved, collector.ErrConflict, err)
	}
	if err != nil {
		return 0, fmt.Errorf("agent %s: %w: %w", s.Agent, collector.ErrConflict, err)
	}
	a.ApplyResume(e)
	return a.Stream(r.Lane, r.Epoch).W, nil
}

func opened(a *ledger.Agent, id wire.AgentID, s collector.Stream) error {
	if !a.Opened(s.Lane, s.Epoch) {
		return fmt.Errorf("agent %s, lane %s, epoch %s: %w", id, s.Lane, s.Epoch, collector.ErrUnknown)
	}
	return nil
}

// Announce implements [collector.Store].
func (m *Memory) Announce(ctx context.Context, s collector.Session, list []collector.Announcement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a, err := m.session(s)
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := opened(a, s.Agent, n.Stream); err != nil {
			return err
		}
	}
	for _, n := range list {
		a.ApplyAnnounce(ledger.Announced{Lane: n.Lane, Epoch: n.Epoch, Next: n.Next})
	}
	return nil
}

// Append implements [collector.Store].
func (m *Memory) Append(ctx context.Context, s collector.Session, list []collector.Append) ([]collector.Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a, err := m.session(s)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if err := opened(a, s.Agent, list[i].Stream); err != nil {
			return nil, err
		}
		if a.Moved(list[i].Lane, list[i].Epoch) {
			return nil, fmt.Errorf("agent %s: %w", s.Agent, collector.ErrMoved)
		}
	}
	answers := make([]collector.Answer, len(list))
	for i := range list {
		p := &list[i]
		if from := a.Append(p.Lane, p.Epoch, &p.Entry); from > 0 {
			m.keep(a, s, p, from)
		}
		answers[i].W = a.Stream(p.Lane, p.Epoch).W
	}
	return answers, nil
}

// keep settles the numbers of p from one on. Session 0 is an import.
func (m *Memory) keep(a *ledger.Agent, s collector.Session, p *collector.Append, from wire.Seq) {
	e := p.Entry
	e.From = from
	e.Batch = slices.Clone(e.Batch)
	settled := ledger.Entry(p.Time, p.Lane, p.Epoch, &e)
	settled.Carried = s.Number == 0
	a.ApplyEntry(settled)
	m.log = append(m.log, collector.Stored{
		Cursor:   collector.Cursor(strconv.Itoa(len(m.log) + 1)),
		Agent:    s.Agent,
		Stream:   p.Stream,
		Session:  s.Number,
		Received: p.Time,
		Entry:    e,
	})
}

// Import implements [collector.Store].
func (m *Memory) Import(ctx context.Context, im collector.Import) (out collector.Imported, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[im.Agent]
	if a == nil {
		a = &ledger.Agent{}
	}
	lookup := m.lookup(im.Agent)
	found := a.Match(&im.Stream, lookup).Found
	rules := ledger.Import{Told: im.Stream, Before: im.Before, Entries: im.Entries}
	if err := rules.Check(); err != nil {
		return out, err
	}
	for i := range im.Entries {
		e := &im.Entries[i]
		p, err := a.Import(&rules, e, lookup, func() wire.Epoch { return wire.Epoch{ID: wire.NewID()} })
		switch {
		case errors.Is(err, ledger.ErrGap):
			return collector.Imported{}, fmt.Errorf("%w: %w", collector.ErrGap, err)
		case err != nil:
			return collector.Imported{}, fmt.Errorf("%w: %w", collector.ErrMemory, err)
		case p.From == 0:
			continue
		case p.Created != nil:
			a.ApplyResume(*p.Created)
			out.Forked = out.Forked || p.Created.Base > 0 || found
		}
		m.agents[im.Agent] = a
		s := collector.Stream{Lane: im.Stream.Lane, Epoch: p.Epoch}
		m.keep(a, collector.Session{Agent: im.Agent}, &collector.Append{Stream: s, Entry: *e, Time: im.Time}, p.From)
		if n := uint64(e.To - p.From + 1); e.IsTombstone() {
			out.Tombstoned += n
		} else {
			out.Stored += n
		}
	}
	out.Match = a.Match(&im.Stream, lookup)
	return out, nil
}

// Part implements [collector.Store].
func (m *Memory) Part(ctx context.Context, s collector.Session, p collector.Parting) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, err := m.session(s); err == nil {
		a.ApplyParting(ledger.Parting(p))
	}
	return nil
}

// Agents implements [collector.Store].
func (m *Memory) Agents(ctx context.Context) ([]collector.Known, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []collector.Known
	for id, a := range m.agents {
		k := collector.Known{Agent: id, Software: a.Software(), Host: a.Host(), Address: a.Address(), Seen: a.Seen(), Backlog: a.Backlog()}
		if p := a.Parting(); p != nil {
			q := collector.Parting(*p)
			k.Parting = &q
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(x, y collector.Known) int { return cmp.Compare(x.Agent, y.Agent) })
	return out, nil
}

// Read implements [collector.Store].
func (m *Memory) Read(ctx context.Context, after collector.Cursor, f func(collector.Stored) error) (collector.Cursor, error) {
	at := 0
	if after != "" {
		n, err := strconv.Atoi(string(after))
		if err != nil || n < 0 {
			return after, fmt.Errorf("cursor %.40q: not one of this store", string(after))
		}
		at = n
	}
	for {
		if err := ctx.Err(); err != nil {
			return after, err
		}
		m.mu.Lock()
		if at > len(m.log) {
			m.mu.Unlock()
			return after, fmt.Errorf("cursor %q: the store has %d entries", string(after), len(m.log))
		}
		if at == len(m.log) {
			m.mu.Unlock()
			return after, nil
		}
		r := m.log[at]
		m.mu.Unlock()
		if err := f(r); err != nil {
			return after, err
		}
		at, after = at+1, r.Cursor
	}
}

// Entries returns all that was stored, in order, for a test to look at. The
// batches must not be changed.
func (m *Memory) Entries() []collector.Stored {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// Ledger returns a snapshot of what the store knows of an agent, nil if it does
// not know it.
func (m *Memory) Ledger(id wire.AgentID) *ledger.Agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[id]
	if a == nil {
		return nil
	}
	c, _, err := ledger.ParseSnapshot(a.AppendSnapshot(nil), ledger.SnapshotVersion)
	if err != nil {
		panic(fmt.Sprintf("storetest: a ledger does not parse: %v", err)) // a bug in ledger
	}
	return c
}

var _ collector.Store = (*Memory)(nil)
