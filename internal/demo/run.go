package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fieldpost/fieldpost/internal/daemon"
)

// drainLimit bounds how long the agents may take to deliver their backlog.
const drainLimit = 60 * time.Second

// Run runs the demo and prints what happens to out. It returns nil only if every
// accepted message is stored once and in order. When it returns, all processes
// have ended, and a temporary folder is gone unless it was to be kept or holds
// the evidence of a failure.
func Run(ctx context.Context, o Options, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return daemon.WithCode(daemon.Usage, err)
	}
	dir, remove, err := makeDir(&o)
	if err != nil {
		return err
	}
	ctx, unsignal := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer unsignal()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	v := newView(out)
	s, err := newSite(dir, o.File, o.Agents, fail)
	if err != nil {
		return err
	}
	verdict, err := perform(ctx, s, o, v)
	err = errors.Join(err, s.close())
	interrupted := errors.Is(err, context.Canceled)
	switch {
	case remove != nil && !o.Keep && (err == nil || interrupted):
		remove()
	default:
		v.Printf("The folder of the run is %s", dir)
	}
	if verdict != nil { // the last line, whatever else was said
		v.Printf("%s", verdict.line())
	}
	if interrupted {
		return daemon.WithCode(daemon.TryLater, errors.New("interrupted before the count"))
	}
	return err
}

// perform is the demo between making and removing its world.
func perform(ctx context.Context, s *site, o Options, v *view) (*verdict, error) {
	v.Printf("A collector and %d agents, as processes of their own, send readings of this host for %s.", o.Agents, o.Duration)
	if o.File != "" {
		v.Printf("Each agent also sends the lines of %s.", o.File)
	}
	v.Printf("The demo breaks links and kills processes; then it counts what arrived.\n")
	if err := s.startCollector(ctx); err != nil {
		return nil, err
	}
	for _, st := range s.stations {
		if err := s.startAgent(ctx, st); err != nil {
			return nil, err
		}
	}
	tick := func() { v.figures(s.stations) }
	if err := play(ctx, s, o.Duration, v.say, tick); err != nil {
		return nil, err
	}

	v.say("no more readings; the agents deliver what they have")
	drain, stop := context.WithTimeoutCause(ctx, drainLimit, fmt.Errorf("its backlog was not delivered within %s", drainLimit))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.finish(drain) }()
	err := func() error {
		for {
			select {
			case err := <-done:
				return err
			case <-time.After(200 * time.Millisecond):
				tick()
			}
		}
	}()
	v.line = time.Time{}
	tick()
	v.drawn = 0 // the last figures stay
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	v.say("all processes have ended; comparing")
	verdict, countErr := count(ctx, s)
	if countErr != nil {
		return nil, errors.Join(err, countErr)
	}
	verdict.print(v)
	return verdict, errors.Join(err, verdict.err())
}
