package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/export"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

// maxLives is how many lives a history has before the last one, at most.
const maxLives = 5

// agentGasp is how long an agent may go on with a dead disk, to show that it
// accepts nothing on it.
const agentGasp = 300 * time.Millisecond

// Agent runs a history of an agent whose folder is on a lossy disk. An error is
// the rig's own.
func Agent(cfg Config, seed uint64) (_ Result, err error) {
	h, err := begin(cfg, seed)
	if err != nil {
		return Result{}, err
	}
	store := storetest.NewMemory()
	address, stop, err := serve(store)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	sent := newAttempts()
	lanes := []string{string(wire.DefaultLane), "bulk"}[:1+h.rng.IntN(2)]
	lives := 1 + h.rng.IntN(maxLives)
	for n := 1; n <= lives && h.result.OK(); n++ {
		l := &life{ending: h.drawEnding(), trap: h.draw(agentEvents), gasp: agentGasp, orders: orders{Role: "agent", Lanes: lanes, Life: n}}
		if h.rng.IntN(4) > 0 { // else no collector is to be had, and a backlog grows
			l.orders.Collector = address
		}
		if _, err := h.agentLife(l, sent, nil); err != nil {
			return h.result, err
		}
	}
	if !h.result.OK() {
		return h.finish()
	}
	var status agent.Status
	last := &life{ending: byItself, orders: orders{Role: "agent", Lanes: lanes, Life: lives + 1, Collector: address, Drain: true}}
	if _, err := h.agentLife(last, sent, &status); err != nil {
		return h.result, err
	}
	h.judgeAgent(&status, store, sent)
	return h.finish()
}

// agentLife runs one life of the agent and notes what it says.
func (h *history) agentLife(l *life, sent *attempts, status *agent.Status) (death, error) {
	open := false
	tries := map[message]*attempt{}
	var answers []string
	l.line = func(words []string) error {
		switch words[0] {
		case "open":
			open = true
			return nil
		case "status":
			if status == nil {
				return nil
			}
			return json.Unmarshal([]byte(strings.Join(words[1:], " ")), status)
		case "closed":
			return nil
		}
		if len(words) < 3 {
			return errors.New("that is not a word of an agent's")
		}
		numbers, err := parseNumbers(words[1:3]...)
		if err != nil {
			return err
		}
		m := message{l.orders.Life, numbers[0], numbers[1]}
		if words[0] == "try" {
			tries[m] = sent.try(agentID, words[3], m)
			return nil
		}
		a := tries[m]
		outcome, ok := map[string]oracle.Outcome{"accepted": oracle.Accepted, "refused": oracle.Refused, "unknown": oracle.Unknown}[words[0]]
		if a == nil || !ok {
			return errors.New("of a message that was not tried, or not an outcome")
		}
		sent.done(a, outcome)
		if outcome != oracle.Accepted {
			answers = append(answers, "  "+strings.Join(words, " "))
		}
		return nil
	}
	d, err := h.live(l)
	h.result.Log = append(h.result.Log, answers...)
	if !open {
		h.result.Counts.Opening++
	}
	return d, err
}

// judgeAgent compares what the store holds at the end with what was sent.
func (h *history) judgeAgent(status *agent.Status, store *storetest.Memory, sent *attempts) {
	verdict, err := sent.sent(false).Judge(stored(store.Entries()))
	if err != nil {
		h.result.wrong("the store: %v", err)
		return
	}
	h.count(&verdict)
	for _, e := range store.Entries() {
		if e.Entry.IsTombstone() {
			h.result.wrong("the agent has given up numbers %d to %d of lane %s: %s %s", e.Entry.From, e.Entry.To, e.Stream.Lane, e.Entry.Reason, e.Entry.Detail)
		}
	}
	for _, l := range status.Lanes {
		h.judgeLane(agentID, &l)
	}
}

// judgeLane holds against a lane what no power cut explains.
func (h *history) judgeLane(id string, l *agent.LaneStatus) {
	if l.Backlog != 0 || len(l.Dropped) > 0 || l.DeadLetters > 0 || l.Forks > 0 || l.RolledBack > 0 || l.Quarantined > 0 || l.Trouble != "" {
		h.result.wrong("agent %s, lane %s: backlog %d, dropped %v, dead letters %d, forks %d, rolled back %d, quarantined %d, %s",
			id, l.Lane, l.Backlog, l.Dropped, l.DeadLetters, l.Forks, l.RolledBack, l.Quarantined, l.Trouble)
	}
}

// count adds a history's last verdict.
func (h *history) count(v *oracle.Verdict) {
	h.result.Counts.Histories++
	h.result.Counts.Messages = v.Tally
	if !v.OK() {
		h.result.wrong("%s", v)
	}
}

// stored yields the messages of entries as the oracle wants them.
func stored(list []collector.Stored) iter.Seq2[oracle.Stored, error] {
	return func(yield func(oracle.Stored, error) bool) {
		enough := errors.New("enough")
		for _, s := range list {
			err := export.Messages(export.Filter{}, s, func(seq wire.Seq, m wire.Message) error {
				if !yield(oracle.Stored{Agent: string(s.Agent), Lane: string(s.Stream.Lane), Seq: uint64(seq), Topic: m.Topic, Body: m.Body}, nil) {
					return enough
				}
				return nil
			})
			if err == enough {
				return
			}
			if err != nil {
				yield(oracle.Stored{}, err)
				return
			}
		}
	}
}

// serve runs a collector until stop is called.
func serve(store collector.Store) (address string, stop func() error, err error) {
	srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, ln) }()
	return ln.Addr().String(), func() error {
		cancel()
		if err := <-ended; err != nil {
			return fmt.Errorf("the rig's collector: %w", err)
		}
		return nil
	}, nil
}
