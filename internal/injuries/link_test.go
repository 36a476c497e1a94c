package injuries

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// within is how long a lane has to get over an injury.
const within = 5 * time.Second

const (
	agentID wire.AgentID = "pump-7"
	lane    wire.Lane    = "default"
)

// link drains a lane into a store, as a transport and a collector would.
type link struct {
	store   *storetest.Memory
	session collector.Session
	at      map[wire.Epoch]wire.Seq // send position
	order   []wire.Epoch
}

// connect says hello until the lane has taken a welcome.
func (l *link) connect(q *queue.Lane) error {
	ctx := context.Background()
	until := time.Now().Add(within)
	for {
		said := q.Streams()
		h := collector.Hello{Hello: wire.Hello{Agent: agentID, Instance: wire.Instance{ID: wire.NewID()}}, Streams: said, Time: time.Now()}
		g, err := l.store.Hello(ctx, h)
		if err != nil {
			return err
		}
		l.session = collector.Session{Agent: agentID, Session: g.Session}
		resumes, err := q.Welcome(ctx, l.store.Identity().ID, said, g.Matches)
		if err != nil {
			if time.Now().After(until) {
				return fmt.Errorf("welcome: %w", err)
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		l.at, l.order = map[wire.Epoch]wire.Seq{}, nil
		for _, r := range resumes {
			w, err := l.store.Resume(ctx, l.session, r)
			if err != nil {
				return fmt.Errorf("resume: %w", err)
			}
			l.at[r.Epoch] = w + 1
			l.order = append(l.order, r.Epoch)
		}
		return nil
	}
}

// errNothing: there is nothing to send now.
var errNothing = errors.New("nothing to send")

// step sends one entry of the first stream that has one.
func (l *link) step(q *queue.Lane) error {
	ctx := context.Background()
	for _, epoch := range l.order {
		n := l.at[epoch]
		e, ok, err := q.Next(epoch, n)
		if err != nil {
			return fmt.Errorf("next %d: %w", n, err)
		}
		if !ok {
			continue
		}
		if _, err := e.Check(); err != nil {
			return &wrong{fmt.Sprintf("next %d: an entry that no store takes: %v", n, err)}
		}
		if e.From != n {
			return &wrong{fmt.Sprintf("next %d: an entry from %d on", n, e.From)}
		}
		if bad := poisoned(&e, n); bad > 0 {
			if _, err := q.Reject(ctx, epoch, bad, "poison"); err != nil {
				return fmt.Errorf("reject %d: %w", bad, err)
			}
			return nil
		}
		answers, err := l.store.Append(ctx, l.session, []collector.Append{{Stream: collector.Stream{Lane: lane, Epoch: epoch}, Entry: e, Time: time.Now()}})
		if err != nil {
			return &wrong{fmt.Sprintf("append of %d to %d: %v", e.From, e.To, err)}
		}
		l.at[epoch] = answers[0].W + 1
		q.Ack(epoch, answers[0].W)
		if a, ok := q.Announce(epoch); ok {
			return l.store.Announce(ctx, l.session, []collector.Announcement{{Stream: collector.Stream{Lane: lane, Epoch: epoch}, Next: a.Next}})
		}
		return nil
	}
	return errNothing
}

// drain sends up to most entries. A lane that cannot read now is asked again,
// for as long as it has to get over an injury.
func (l *link) drain(q *queue.Lane, most int) error {
	var until time.Time
	for ; most > 0; most-- {
		err := l.step(q)
		var w *wrong
		switch {
		case err == nil:
			until = time.Time{}
		case errors.Is(err, errNothing):
			return nil
		case errors.As(err, &w):
			return err
		case until.IsZero():
			until = time.Now().Add(within)
		case time.Now().After(until):
			return fmt.Errorf("not within %s: %w", within, err)
		default:
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// wrong is a finding.
type wrong struct{ what string }

func (w *wrong) Error() string { return w.what }

// poisoned returns the first number of an entry from n on that the store refuses
// for good, 0 if there is none.
func poisoned(e *wire.Entry, n wire.Seq) wire.Seq {
	if e.IsTombstone() {
		return 0
	}
	b, err := wire.ParseBatch(e.Batch)
	if err != nil {
		return 0
	}
	for r, err := range b.Records() {
		if err != nil {
			return 0
		}
		if m, err := r.Record.Message(); err == nil && m.Topic == poison && r.Seq >= n && r.Seq <= e.To {
			return r.Seq
		}
	}
	return 0
}

const poison = "poison"
