// Package host takes samples of the machine that the agent runs on: processor,
// memory, disks, network and load, one message in JSON for each sample.
//
//	{"host": "pump-7", "interval_seconds": 60,
//	 "cpu": {"count": 4, "used_percent": 12.5},
//	 "memory": {"total_bytes": …, "available_bytes": …, "used_percent": …, "swap_total_bytes": …, "swap_used_bytes": …},
//	 "disk": [{"path": "/", "device": "/dev/vda1", "total_bytes": …, "free_bytes": …, "used_percent": …}],
//	 "network": [{"name": "eth0", "received_bytes": …, "sent_bytes": …, "receive_errors": …, "send_errors": …}],
//	 "load": {"1m": 0.5, "5m": 0.4, "15m": 0.3}}
//
// The message's time is the sample's. Counters of the network are since the machine
// was started. The processor's use is over the time since the sample before. What a
// platform cannot give is left out.
//
// A sample is handed in once it is taken. While its lane is full that is tried again,
// until the next one is due; then it is given up, and counted as missed.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
)

// Agent takes the samples; [agent.Agent] does.
type Agent interface {
	Send(ctx context.Context, m agent.Message) error
}

// Config says what is sampled, and how often.
type Config struct {
	Topic, Lane string        // of the messages; an empty Lane: by the routes
	Interval    time.Duration // 0: a minute
	Only        []string      // cpu, memory, disk, network, load; none: all
	Logger      *slog.Logger  // nil: nothing is logged
}

// Input takes samples. It is an [input.Input].
type Input struct {
	to  Agent
	cfg Config

	mu     sync.Mutex
	status input.Status
}

// New returns an input whose samples go to an agent.
func New(to Agent, cfg Config) *Input {
	if cfg.Interval == 0 {
		cfg.Interval = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Input{to: to, cfg: cfg, status: input.Status{Kind: "host", Name: fmt.Sprintf("every %s", cfg.Interval), State: input.Stopped}}
}

// Run takes a sample at once and then one in each interval, until ctx ends.
func (in *Input) Run(ctx context.Context) error {
	in.set(func(st *input.Status) { st.State = input.Reading })
	defer in.set(func(st *input.Status) { st.State = input.Stopped })
	name, _ := os.Hostname()
	t := time.NewTicker(in.cfg.Interval)
	defer t.Stop()
	for {
		s := in.take(ctx)
		s.Host, s.Interval = name, in.cfg.Interval.Seconds()
		body, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("a sample of the machine: %w", err)
		}
		in.send(ctx, agent.Message{Topic: in.cfg.Topic, Lane: in.cfg.Lane, Time: time.Now(), Body: body})
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// send hands a sample in.
func (in *Input) send(ctx context.Context, m agent.Message) {
	last, cancel := context.WithTimeout(ctx, in.cfg.Interval*9/10)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := in.to.Send(last, m)
		switch {
		case err == nil:
			in.set(func(st *input.Status) {
				st.State, st.Trouble, st.LastRead = input.Reading, "", m.Time
				st.Messages++
				st.Bytes += uint64(len(m.Body))
			})
			return
		case errors.Is(err, agent.ErrDropped):
			in.set(func(st *input.Status) { st.State, st.Trouble = input.Reading, ""; st.Dropped++ })
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, agent.ErrFull) && last.Err() == nil:
			in.set(func(st *input.Status) { st.State, st.Trouble = input.Waiting, err.Error() })
		default:
			in.cfg.Logger.Error("a sample of the machine was not accepted", "err", err)
			in.set(func(st *input.Status) { st.State, st.Trouble = input.Waiting, err.Error(); st.Missed++ })
			return
		}
		select {
		case <-time.After(pause):
		case <-last.Done():
		}
	}
}

// wanted reports whether a part of a sample is.
func (in *Input) wanted(part string) bool {
	return len(in.cfg.Only) == 0 || slices.Contains(in.cfg.Only, part)
}

func (in *Input) set(change func(*input.Status)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	change(&in.status)
}

// Status returns how the input stands; see [input.Input].
func (in *Input) Status() input.Status {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.status
}

var _ input.Input = (*Input)(nil)
