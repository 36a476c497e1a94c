package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

var _ collector.Store = (*Journal)(nil)

// Identity implements [collector.Store].
func (j *Journal) Identity() collector.Identity { return j.identity.identity() }

// agent returns the visible state of an agent, for a look; it does not change.
func (j *Journal) agent(id wire.AgentID) *ledger.Agent {
	j.mu.Lock()
	defer j.mu.Unlock()
	if a := j.state[id]; a != nil {
		return a
	}
	return &ledger.Agent{}
}

// Hello implements [collector.Store]. Its ctx counts until the commit begins.
func (j *Journal) Hello(ctx context.Context, h collector.Hello) (collector.Grant, error) {
	if _, err := wire.ParseAgentID(string(h.Agent)); err != nil {
		return collector.Grant{}, err
	}
	h.Software, h.Address = clip(h.Software), clip(h.Address)
	h.Host = wire.Host{Name: clip(h.Host.Name), OS: clip(h.Host.OS), Arch: clip(h.Host.Arch)}
	// Fingerprints that must be read from disk are found before the commit, which
	// others wait for; settled numbers do not change meanwhile.
	known := j.newMemo(h.Agent)
	a := j.agent(h.Agent)
	for i := range h.Streams {
		a.Match(&h.Streams[i], known.lookup)
	}
	g := collector.Grant{Matches: make([]wire.Match, len(h.Streams))}
	err := j.submit(ctx, func(t *group) error {
		if err := t.room(h.Agent, j.opts.MaxAgents); err != nil {
			return err
		}
		a := t.agent(h.Agent)
		e := a.Hello(&h.Hello, len(h.Streams), h.Address, wallClock(h.Time), wire.NewID())
		for i := range h.Streams {
			g.Matches[i] = a.Match(&h.Streams[i], known.lookup)
			if b, ok := ledger.BehindOf(&h.Streams[i], &g.Matches[i]); ok && len(e.Behind) < wire.MaxStreams {
				e.Behind = append(e.Behind, b)
			}
		}
		g.Session = e.Session
		t.add(&granted{h.Agent, e})
		return nil
	})
	if err != nil {
		return collector.Grant{}, fmt.Errorf("hello of %s: %w", h.Agent, err)
	}
	return g, nil
}

// session returns the agent of s if s is its live session.
func (t *group) session(s collector.Session) (*ledger.Agent, error) {
	a := t.agent(s.Agent)
	if !a.Live(s.Session) {
		return nil, fmt.Errorf("agent %s, session %d: %w", s.Agent, s.Number, collector.ErrFenced)
	}
	return a, nil
}

func opened(a *ledger.Agent, id wire.AgentID, s collector.Stream) error {
	if !a.Opened(s.Lane, s.Epoch) {
		return fmt.Errorf("agent %s, lane %s, epoch %s: %w", id, s.Lane, s.Epoch, collector.ErrUnknown)
	}
	return nil
}

// Resume implements [collector.Store]. Its ctx counts until the commit begins.
func (j *Journal) Resume(ctx context.Context, s collector.Session, r wire.Resume) (w wire.Seq, err error) {
	known := j.newMemo(s.Agent)
	if a := j.agent(s.Agent); a.Live(s.Session) {
		a.Resume(&r, known.lookup) // only to read from disk what it will ask for
	}
	err = j.submit(ctx, func(t *group) error {
		a, err := t.session(s)
		if err != nil {
			return err
		}
		e, err := a.Resume(&r, known.lookup)
		if err == nil && e.Created {
			err = j.oneMore(a)
		}
		if err != nil {
			return resumeError(s.Agent, err)
		}
		t.add(&resumed{s.Agent, e})
		w = e.Base
		return nil
	})
	if err != nil {
		return 0, err
	}
	return w, nil
}

// resumeError gives an error of the ledger the store's meaning.
func resumeError(id wire.AgentID, err error) error {
	if errors.Is(err, ledger.ErrLimit) {
		return fmt.Errorf("agent %s: %w: %w", id, collector.ErrLimit, err)
	}
	if errors.Is(err, ledger.ErrMoved) {
		return fmt.Errorf("agent %s: %w: %w: %w", id, collector.ErrMoved, collector.ErrConflict, err)
	}
	return fmt.Errorf("agent %s: %w: %w", id, collector.ErrConflict, err)
}

// Append implements [collector.Store]. Its ctx counts until the commit begins.
func (j *Journal) Append(ctx context.Context, s collector.Session, list []collector.Append) ([]collector.Answer, error) {
	records := make([]settled, len(list))
	for i := range list {
		p := &list[i]
		records[i] = settled{id: s.Agent, session: s.Number, received: wallClock(p.Time), stream: p.Stream, entry: p.Entry}
		if r := &records[i]; p.Fingerprint != 0 {
			r.event = ledger.EntryWith(r.received, r.stream.Lane, r.stream.Epoch, &r.entry, p.Fingerprint)
		} else {
			r.complete() // hashes; better here than in the commit
		}
	}
	answers := make([]collector.Answer, len(list))
	err := j.submit(ctx, func(t *group) error {
		a, err := t.session(s)
		if err != nil {
			return err
		}
		for i := range list {
			p := &list[i]
			if err := opened(a, s.Agent, p.Stream); err != nil {
				return err
			}
			if a.Moved(p.Lane, p.Epoch) {
				return fmt.Errorf("agent %s, lane %s, epoch %s: %w", s.Agent, p.Lane, p.Epoch, collector.ErrMoved)
			}
		}
		for i := range list {
			p, r := &list[i], &records[i]
			if from := t.agent(s.Agent).Append(p.Lane, p.Epoch, &p.Entry); from > 0 {
				r.entry.From, r.event.From = from, from
				t.add(r)
			}
			answers[i].W = t.agent(s.Agent).Stream(p.Lane, p.Epoch).W
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answers, nil
}

// Announce implements [collector.Store]. What is new is written with the next
// commit, or by itself within about a second.
func (j *Journal) Announce(ctx context.Context, s collector.Session, list []collector.Announcement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(list) > wire.MaxStreams {
		return fmt.Errorf("agent %s: %d announcements, the limit is %d", s.Agent, len(list), wire.MaxStreams)
	}
	e := &announced{id: s.Agent, session: s.Number}
	t := group{state: agents{s.Agent: j.agent(s.Agent)}}
	a, err := t.session(s)
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := opened(a, s.Agent, n.Stream); err != nil {
			return err
		}
		if n := (ledger.Announced{Lane: n.Lane, Epoch: n.Epoch, Next: n.Next}); a.Announce(n) {
			e.list = append(e.list, n)
		}
	}
	if len(e.list) == 0 {
		return nil
	}
	return j.ride(func(t *group) error {
		if _, err := t.session(s); err != nil {
			return err // a newer session has told newer things
		}
		t.add(e)
		return nil
	})
}

// Part implements [collector.Store]. It is written with the next commit, or by
// itself within about a second.
func (j *Journal) Part(ctx context.Context, s collector.Session, p collector.Parting) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.Reason, p.Time = clip(p.Reason), wallClock(p.Time)
	return j.ride(func(t *group) error {
		if _, err := t.session(s); err != nil {
			return err
		}
		t.add(&parted{s.Agent, s.Number, ledger.Parting(p)})
		return nil
	})
}

// Agents implements [collector.Store].
func (j *Journal) Agents(ctx context.Context) ([]collector.Known, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	m := maps.Clone(j.state)
	j.mu.Unlock()
	return m.known(), nil
}

// known returns what a store tells of its agents, in order of their ids.
func (m agents) known() []collector.Known {
	out := make([]collector.Known, 0, len(m))
	for _, id := range m.ids() {
		a := m[id]
		if a.Forgotten() != nil {
			continue
		}
		k := collector.Known{Agent: id, Software: a.Software(), Host: a.Host(), Address: a.Address(), Seen: a.Seen(), Backlog: a.Backlog()}
		if p := a.Parting(); p != nil {
			q := collector.Parting(*p)
			k.Parting = &q
		}
		out = append(out, k)
	}
	return out
}

// Read implements [collector.Store]; see [Reader.Read].
func (j *Journal) Read(ctx context.Context, after collector.Cursor, f func(collector.Stored) error) (collector.Cursor, error) {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return after, ErrClosed
	}
	return j.reader.Read(ctx, after, f)
}
