package journal

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// Past is what a journal knows of an agent's past: its streams, what happened to
// its folder and its id, and what operators have accepted. As JSON its fields are
// named as tagged here.
type Past struct {
	Agent     wire.AgentID      `json:"agent"`
	Streams   []Line            `json:"streams"`
	Incidents []ledger.Incident `json:"incidents"` // the newest ledger.MaxIncidents, oldest first
	Noted     uint64            `json:"noted"`     // how many there have been, each repetition counted
	Closings  []ledger.Closing  `json:"closings"`

	Forgotten *ledger.Forgetting `json:"forgotten,omitempty"` // an operator has given the agent up
}

// Line is a stream as its store knows it.
type Line struct {
	Lane       wire.Lane              `json:"lane"`
	Epoch      wire.Epoch             `json:"epoch"`
	Base       wire.Seq               `json:"base"` // numbers up to here belong to the stream it was forked from
	W          wire.Seq               `json:"w"`    // all up to here is accounted for
	Next       wire.Seq               `json:"next"` // numbers below it were announced
	Current    bool                   `json:"current"`
	Openings   int                    `json:"openings"` // incarnations that are known
	Stored     uint64                 `json:"stored"`
	MayDouble  uint64                 `json:"may_be_doubled"`
	Tombstoned map[wire.Reason]uint64 `json:"tombstoned,omitempty"`
}

// Accept notes, durably, that an operator accepts numbers of an agent: audit shows
// them as closed from then on and does not fail for them. It returns what of c was
// accepted now: numbers that are explained meanwhile, or that were accepted before,
// are left out. By and Reason are cut to [ledger.MaxCloseText] bytes.
// [ledger.ErrClosings]: there are too many. Its ctx counts until the commit begins.
func (j *Journal) Accept(ctx context.Context, id wire.AgentID, c ledger.Closing) (done ledger.Closing, err error) {
	c.By, c.Reason, c.Time = clip(c.By), clip(c.Reason), wallClock(c.Time)
	err = j.submit(ctx, func(t *group) error {
		if done, err = t.agent(id).Close(c); err != nil || len(done.Ranges) == 0 {
			return err
		}
		t.add(&closed{id, done})
		return nil
	})
	if err != nil {
		return ledger.Closing{}, fmt.Errorf("agent %s: %w", id, err)
	}
	if len(done.Ranges) > 0 {
		j.log.Warn("an operator has accepted numbers: audit does not fail for them any more", "agent", id, "by", c.By, "reason", c.Reason, "ranges", len(done.Ranges))
	}
	return done, nil
}

// Pasts returns the past of all agents, or of one if id is not "", in order of
// their ids.
func (j *Journal) Pasts(ctx context.Context, id wire.AgentID) ([]Past, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	m := maps.Clone(j.state)
	j.mu.Unlock()
	return m.pasts(id), nil
}

// Pasts is [Journal.Pasts] for a journal at rest, or beside a collector.
func (r *Reader) Pasts(ctx context.Context, id wire.AgentID) ([]Past, error) {
	m, err := r.state(ctx)
	if err != nil {
		return nil, err
	}
	return m.pasts(id), nil
}

func (m agents) pasts(id wire.AgentID) []Past {
	out := []Past{}
	for _, k := range m.ids() {
		if id == "" || k == id {
			out = append(out, past(k, m[k]))
		}
	}
	return out
}

func past(id wire.AgentID, a *ledger.Agent) Past {
	p := Past{Agent: id, Streams: []Line{}, Closings: a.Closings(), Forgotten: a.Forgotten()}
	p.Incidents, p.Noted = a.Incidents()
	for _, s := range a.Streams() {
		p.Streams = append(p.Streams, Line{Lane: s.Lane, Epoch: s.Epoch, Base: s.Base, W: s.W, Next: s.Next, Current: a.Current(s) && a.Forgotten() == nil, Openings: len(s.History),
			Stored: s.Stored, MayDouble: s.Doubled, Tombstoned: s.Tombstoned})
	}
	if p.Incidents == nil {
		p.Incidents = []ledger.Incident{}
	}
	if p.Closings == nil {
		p.Closings = []ledger.Closing{}
	}
	return p
}

// told is an incident to be logged.
type told struct {
	id wire.AgentID
	ledger.Incident
}

// noticed appends what a commit has brought to an agent's incidents. What repeats
// within a minute is not news.
func noticed(list []told, id wire.AgentID, old, now *ledger.Agent) []told {
	var before []ledger.Incident
	have := uint64(0)
	if old != nil {
		before, have = old.Incidents()
	}
	after, noted := now.Incidents()
	if noted == have {
		return list
	}
	for _, n := range after {
		i := slices.IndexFunc(before, func(o ledger.Incident) bool {
			return o.Kind == n.Kind && o.Lane == n.Lane && o.Epoch == n.Epoch && o.First.Equal(n.First)
		})
		if i < 0 || n.Count > before[i].Count && n.Last.Sub(before[i].Last) >= time.Minute {
			list = append(list, told{id, n})
		}
	}
	return list
}

// count counts incidents.
func (j *Journal) count(list []told) {
	if len(list) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stats.Incidents == nil {
		j.stats.Incidents = map[ledger.IncidentKind]uint64{}
	}
	for i := range list {
		j.stats.Incidents[list[i].Kind]++
	}
}

// tell counts and logs incidents.
func (j *Journal) tell(list []told) {
	j.count(list)
	for i := range list {
		n := &list[i]
		args := []any{"agent", n.id, "incident", n.Kind}
		if n.Lane != "" {
			args = append(args, "lane", n.Lane, "epoch", n.Epoch)
		}
		if n.To > 0 {
			args = append(args, "from", n.From, "to", n.To)
		}
		if !n.Origin.IsZero() {
			args = append(args, "forked_from", n.Origin)
		}
		if n.Detail != "" {
			args = append(args, "detail", n.Detail)
		}
		level := slog.LevelWarn
		if n.Kind == ledger.IncidentOtherStore {
			level = slog.LevelInfo
		}
		j.log.Log(context.Background(), level, n.Kind.What(), append(args, "next", n.Kind.Next())...)
	}
}
