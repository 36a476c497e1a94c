// Package exec runs a command and takes each line of its output as a message.
//
//	command --stdout: lines--> batches --> agent
//	        --stderr---------> the log, a bounded part of it
//
// With an interval the command is run again and again; one that takes longer than
// the interval is not run twice at a time. Without one it is kept running: when it
// ends it is started again, soon if it has run for a while, else after growing
// pauses. At the end its whole process group is asked to end (SIGTERM), and killed
// after two seconds; under Windows the process is killed, with its job.
//
// # What it promises
//
// A line is handed in once, in order, and while the lane is full the command is not
// read, so that it waits. A line above the limit of a message is passed over, and
// counted.
//
// # What it does not
//
// A command's output cannot be read again: what it has written and the agent has not
// yet accepted is lost in a crash.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/input/lines"
	"github.com/fieldpost/fieldpost/wire"
)

// Agent takes the lines; [agent.Agent] does.
type Agent interface {
	SendBatch(ctx context.Context, list []agent.Message) error
}

// Config says which command is run, and when.
type Config struct {
	Command     []string      // program and arguments
	Dir         string        // where it runs; "": where this process does
	Interval    time.Duration // between the beginnings of two runs; 0: it is kept running
	Timeout     time.Duration // of a run; 0: none
	Topic, Lane string        // of the messages; an empty Lane: by the routes
	Logger      *slog.Logger  // nil: nothing is logged
}

// Input runs a command. It is an [input.Input].
type Input struct {
	to  Agent
	cfg Config

	mu     sync.Mutex
	status input.Status
}

// How a command is ended and started again.
const (
	endWithin    = 2 * time.Second // after SIGTERM
	shortestRest = time.Second
	longestRest  = time.Minute
)

// New returns an input whose lines go to an agent.
func New(to Agent, cfg Config) *Input {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("command", cfg.Command[0])
	return &Input{to: to, cfg: cfg, status: input.Status{Kind: "exec", Name: strings.Join(cfg.Command, " "), State: input.Stopped}}
}

// Run runs the command until ctx ends.
func (in *Input) Run(ctx context.Context) error {
	defer in.set(func(st *input.Status) { st.State = input.Stopped })
	for rest, first := shortestRest, true; ctx.Err() == nil; first = false {
		began := time.Now()
		in.set(func(st *input.Status) {
			if st.State, st.Trouble = input.Reading, ""; !first && in.cfg.Interval == 0 {
				st.Restarts++
			}
		})
		err := in.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := max(0, in.cfg.Interval-time.Since(began))
		if in.cfg.Interval == 0 {
			if time.Since(began) > longestRest {
				rest = shortestRest
			}
			pause, rest = rest, min(2*rest, longestRest)
			if err == nil {
				err = errors.New("it has ended by itself; give an interval if it is meant to")
			}
		}
		if err != nil {
			in.cfg.Logger.Warn("the command has failed", "err", err, "next_run_in", pause)
			in.set(func(st *input.Status) { st.State, st.Trouble = input.Waiting, err.Error() })
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return nil
}

// once runs the command to its end.
func (in *Input) once(ctx context.Context) error {
	run, cancel := context.WithCancel(ctx)
	if in.cfg.Timeout > 0 {
		defer cancel()
		run, cancel = context.WithTimeoutCause(ctx, in.cfg.Timeout, fmt.Errorf("it took longer than its timeout, %s", in.cfg.Timeout))
	}
	defer cancel()
	c := exec.Command(in.cfg.Command[0], in.cfg.Command[1:]...)
	c.Dir = in.cfg.Dir
	c.WaitDelay = endWithin // if somebody else has its standard error open
	said := &errorLog{log: in.cfg.Logger}
	c.Stderr = said
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	g, err := start(c)
	if err != nil {
		return fmt.Errorf("it cannot be started: %w; name a program that this user may run", err)
	}
	defer g.close()
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for _, step := range []struct {
			first <-chan struct{}
			after time.Duration
			do    func()
		}{{run.Done(), 0, g.terminate}, {nil, endWithin, g.kill}, {nil, endWithin / 2, func() { out.Close() }}} {
			var due <-chan time.Time
			if step.first == nil {
				due = time.After(step.after)
			}
			select {
			case <-step.first: // nil: never
			case <-due:
			case <-ended:
				return
			}
			step.do()
		}
	})
	failed := in.read(ctx, out)
	if failed != nil {
		cancel()
	}
	err = c.Wait()
	close(ended)
	watch.Wait()
	if run.Err() != nil {
		g.kill() // those that it has left behind
	}
	said.flush()
	switch {
	case ctx.Err() != nil:
		return nil
	case failed != nil:
		return failed
	case run.Err() != nil:
		return context.Cause(run)
	case err != nil:
		return fmt.Errorf("it ended with %w%s", err, said.last())
	}
	return nil
}

// read hands in the lines of out until its end. While one batch is put on disk the
// next one is read.
func (in *Input) read(ctx context.Context, out io.Reader) error {
	encoded, _ := wire.AppendRecord(nil, &wire.Message{Topic: in.cfg.Topic, Time: time.Unix(1, 0)})
	head, _, _ := wire.NextRecord(encoded)
	r := lines.NewReader(out, wire.MaxRecord-len(head))
	q := newQueue()
	var reader sync.WaitGroup
	reader.Go(func() {
		defer q.end()
		for {
			line, err := r.Next()
			var long *lines.TooLong
			switch {
			case errors.As(err, &long):
				in.cfg.Logger.Error("a line is too long for a message and was passed over", "line", long.Line, "limit_bytes", long.Limit)
				in.set(func(st *input.Status) { st.TooLong++ })
			case err != nil:
				return
			default:
				q.add(agent.Message{Topic: in.cfg.Topic, Lane: in.cfg.Lane, Time: time.Now(), Body: bytes.Clone(line)})
			}
		}
	})
	defer reader.Wait()
	var failed error
	for list := q.take(nil); len(list) > 0; list = q.take(list) {
		if failed == nil {
			failed = in.put(ctx, list)
		} else { // the rest is read, so that the command can end
			in.set(func(st *input.Status) { st.Missed += uint64(len(list)) })
		}
	}
	return failed
}

// put hands in a batch, again while its lane is full. After the end of ctx it is
// tried once more, for a moment.
func (in *Input) put(ctx context.Context, list []agent.Message) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		last, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(endWithin, cancel) })
		err := in.to.SendBatch(last, list)
		stop()
		cancel()
		n, size := uint64(len(list)), 0
		for i := range list {
			size += len(list[i].Body)
		}
		switch {
		case err == nil:
			in.set(func(st *input.Status) {
				st.State, st.Trouble, st.LastRead = input.Reading, "", time.Now()
				st.Messages += n
				st.Bytes += uint64(size)
			})
			return nil
		case errors.Is(err, agent.ErrDropped):
			in.set(func(st *input.Status) { st.State, st.Trouble = input.Reading, ""; st.Dropped += n })
			return nil
		case errors.Is(err, agent.ErrTooLarge) && len(list) > 1: // more than the lane may hold
			if err := in.put(ctx, list[:n/2]); err != nil {
				return err
			}
			return in.put(ctx, list[n/2:])
		case errors.Is(err, agent.ErrTooLarge):
			in.cfg.Logger.Error("a line is too large for its lane and was passed over", "err", err)
			in.set(func(st *input.Status) { st.TooLong++ })
			return nil
		case errors.Is(err, agent.ErrUncertain) && ctx.Err() == nil:
			// Handing it in again could double it; if it is there, it is delivered.
			in.cfg.Logger.Error("it is unknown whether these lines are on disk; if they are, they are delivered", "lines", n, "err", err)
			in.set(func(st *input.Status) { st.Missed += n })
			return nil
		case !errors.Is(err, agent.ErrFull) || ctx.Err() != nil:
			in.set(func(st *input.Status) { st.Missed += n })
			return err
		}
		in.set(func(st *input.Status) { st.State, st.Trouble = input.Waiting, err.Error() })
		select {
		case <-time.After(pause):
		case <-ctx.Done(): // once more, then out
		}
	}
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
