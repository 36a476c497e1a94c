package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

// attempt is one message and what Send said.
type attempt struct {
	m       oracle.Message
	life    *life
	poison  bool
	begin   time.Time // of the call
	end     time.Time
	outcome oracle.Outcome
}

const (
	accepted = oracle.Accepted
	refused  = oracle.Refused
	unknown  = oracle.Unknown

	// toldDropped: Send said that a tombstone stands for it.
	toldDropped oracle.Outcome = "dropped"
)

// produce sends messages with pauses until ctx ends.
func (w *world) produce(ctx context.Context, id string, l *life, i int, r *rand.Rand) {
	producer := fmt.Sprintf("%s/%d", l.name, i)
	for n := 0; ctx.Err() == nil; n++ {
		lane, hurry := lanes[max(0, r.IntN(3)-1)], l.hurry.Load()
		var list []agent.Message
		var tries []*attempt
		for k := range 1 + r.IntN(4)*r.IntN(3) {
			body := fmt.Appendf(nil, "%s %d.%d ", producer, n, k)
			bad := w.policy.poison && r.IntN(20) == 0
			if bad {
				body = append(body, poison...)
			}
			if hurry || r.IntN(4) == 0 { // large ones fill segments, so that they come and go
				body = append(body, make([]byte, r.IntN(30000))...)
			}
			tries = append(tries, w.attempt(l, bad, oracle.Message{Agent: id, Lane: lane, Producer: producer, Topic: "t", Body: body}))
			list = append(list, agent.Message{Lane: lane, Topic: "t", Body: body})
		}
		send, cancel := context.Background(), context.CancelFunc(func() {})
		if r.IntN(8) == 0 {
			send, cancel = context.WithTimeout(send, time.Duration(r.Int64N(int64(time.Second))))
		}
		if w.policy.lanes[lane].Overflow == agent.Block { // not for ever
			cancel()
			send, cancel = context.WithTimeout(ctx, time.Duration(r.Int64N(int64(longestBlock))))
		}
		w.settle(l, tries, l.a.SendBatch(send, list))
		cancel()
		pause := 3 * time.Second
		if hurry {
			pause /= 10
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.Int64N(int64(pause)))):
		}
	}
}

// settle notes what Send said of messages.
func (w *world) settle(l *life, tries []*attempt, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	outcome := accepted
	lane := w.policy.lanes[tries[0].m.Lane]
	now := time.Now()
	switch {
	case l.killed:
		outcome = unknown
	case errors.Is(err, agent.ErrDropped):
		outcome = toldDropped
		if lane.Overflow != agent.DropNewest {
			w.faults = append(w.faults, fmt.Sprintf("%s: %v, and the lane's policy is %s", l.name, err, lane.Overflow))
		}
	case errors.Is(err, agent.ErrUncertain):
		outcome = unknown
		l.failed = true
		w.seen["agent: an answer is uncertain"]++
	case err != nil:
		outcome = refused
		if limited(lane) {
			w.seen["refused: "+lane.Overflow.String()]++
		} else if errors.Is(err, agent.ErrFull) {
			l.failed = true
			w.seen["agent: a failing disk refuses"]++
		}
	case limited(lane) && lane.Overflow == agent.Block && now.After(tries[0].begin):
		w.seen["blocked, then accepted"]++
	case l.failed:
		l.failed = false
		w.seen["agent: accepts again by itself"]++
	}
	if err != nil {
		w.record("    %s: %s: %v", l.name, outcome, err)
	}
	for _, t := range tries {
		t.outcome, t.end = outcome, now
	}
}

func (w *world) attempt(l *life, bad bool, m oracle.Message) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &attempt{m: m, life: l, poison: bad, begin: time.Now(), outcome: unknown}
	w.sent = append(w.sent, t)
	return t
}
