package sim

import (
	"context"
	"errors"
	"time"

	"github.com/fieldpost/fieldpost/agent"
)

// purge is what an operator dropped of a lane.
type purge struct {
	agent, lane string
	begin, end  time.Time
	older       time.Time // only messages whose time is before it; zero: all
}

// purge lets an operator drop what a lane holds, or what is older than a while.
func (m *machine) purge() error {
	w := m.w
	lane := lanes[w.r.IntN(len(lanes))]
	older := time.Duration(w.r.Int64N(int64(20 * time.Second)))
	if !w.policy.purge || m.life == nil {
		return nil
	}
	p := purge{agent: m.id, lane: lane, begin: time.Now()}
	var what agent.Purge
	if older > 5*time.Second {
		p.older = p.begin.Add(-older)
		what.Older = p.older
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := m.life.a.Purge(ctx, lane, what)
	p.end = time.Now()
	w.note("    %s: lane %s: purged %d, kept %d: %v", m.life.name, lane, got.Messages, got.Kept, err)
	if err != nil && !m.disk.hurt() && !errors.Is(err, context.DeadlineExceeded) {
		w.fault("%s: lane %s: a purge fails on a disk that is well: %v", m.life.name, lane, err)
	}
	w.purges = append(w.purges, p)
	key := m.id + " " + lane
	if w.purged[key] += got.Messages; err != nil { // more than that may have been dropped
		w.uncertain[key] = true
	}
	return nil
}

// purgedAt reports whether an operator was dropping messages like m at a time. What
// a failing disk had first is dropped once it is well.
func (w *world) purgedAt(o *try, at time.Time) bool {
	for _, p := range w.purges {
		if p.agent == o.m.Agent && p.lane == o.m.Lane && !at.Before(p.begin) && !at.After(p.end) && (p.older.IsZero() || o.begin.Before(p.older)) {
			return true
		}
	}
	return false
}
