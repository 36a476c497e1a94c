package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/agent"
)

// An agent's lines: "open"; "try P N LANE" before a message N of producer P is
// sent; "accepted P N", "refused P N WHY" or "unknown P N WHY" after it; "status
// JSON" and "closed" at an orderly end; "failed WHY".

// agentID is the agent whose folder is on the lossy disk.
const agentID = "pump-7"

// inFlight is how many messages a producer of SendAsync has on their way.
const inFlight = 16

func (o *orders) agent() error {
	cfg := agent.Config{
		ID: agentID, Dir: o.Dir, Lanes: map[string]agent.LaneConfig{}, Logger: logger(),
		Reconnect: agent.Reconnect{Min: 5 * time.Millisecond, Max: 20 * time.Millisecond},
	}
	for _, lane := range o.Lanes {
		cfg.Lanes[lane] = agent.LaneConfig{SegmentSize: o.Segment}
	}
	if o.Collector != "" {
		cfg.Collectors = []string{o.Collector}
		cfg.InsecurePlaintext = true
	}
	a, err := agent.Open(context.Background(), cfg)
	if err != nil {
		return err
	}
	say("open")
	end := told()
	if o.Drain {
		if err := a.Flush(context.Background()); err != nil {
			return err
		}
	} else if !o.produce(a, end) {
		return nil // the disk is gone, and closing it would wait for it
	}
	status, err := json.Marshal(a.Status())
	if err == nil {
		say("status", string(status))
		err = a.Close()
	}
	if err == nil {
		say("closed")
	}
	return err
}

// produce sends from several goroutines until the parent asks for an end, true
// then, or nothing is accepted any more.
func (o *orders) produce(a *agent.Agent, end <-chan struct{}) bool {
	var wg sync.WaitGroup
	var stopping, failed atomic.Bool
	send := func(p int, one func(p int, next func() agent.Message) error) {
		wg.Go(func() {
			n := 0
			next := func() agent.Message {
				n++
				m := message{o.Life, p, n}
				lane := o.Lanes[p%len(o.Lanes)]
				say("try", p, n, lane)
				return agent.Message{Lane: lane, Topic: topic, Body: m.body()}
			}
			for !stopping.Load() {
				if err := one(p, next); err != nil {
					failed.Store(true)
					return
				}
			}
		})
	}
	counted := func(p int) func(err error) error { // tells outcomes of messages in the order of their numbers
		n := 0
		return func(err error) error {
			n++
			tell(p, n, err)
			return err
		}
	}
	for p := range 3 {
		done := counted(p)
		send(p, func(_ int, next func() agent.Message) error { return done(a.Send(context.Background(), next())) })
	}
	batched := counted(3)
	rng := rand.New(rand.NewPCG(uint64(o.Life), 0))
	send(3, func(_ int, next func() agent.Message) error {
		list := make([]agent.Message, 1+rng.IntN(12))
		for i := range list {
			list[i] = next()
		}
		err := a.SendBatch(context.Background(), list)
		for range list {
			batched(err)
		}
		return err
	})
	async := counted(4)
	var asyncFailed atomic.Pointer[error]
	room := make(chan struct{}, inFlight)
	send(4, func(_ int, next func() agent.Message) error {
		if err := asyncFailed.Load(); err != nil {
			return *err
		}
		room <- struct{}{}
		a.SendAsync(next(), func(err error) {
			if async(err) != nil {
				asyncFailed.CompareAndSwap(nil, &err)
			}
			<-room
		})
		return nil
	})
	go func() { // ends with the process
		<-end
		stopping.Store(true)
	}()
	wg.Wait()
	for range inFlight { // every callback has been called
		room <- struct{}{}
	}
	return !failed.Load()
}

// tell says a message's outcome.
func tell(p, n int, err error) {
	switch {
	case err == nil:
		say("accepted", p, n)
	case errors.Is(err, agent.ErrUncertain):
		say("unknown", p, n, err)
	default:
		say("refused", p, n, err)
	}
}

// parseNumbers reads the numbers of a line's words.
func parseNumbers(words ...string) (list []int, err error) {
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}
