package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/input"
)

// How long an input that has failed rests before it is started again.
const (
	shortestRest = time.Second
	longestRest  = time.Minute
)

// runner runs one input. start and stop are for one goroutine at a time.
type runner struct {
	// Static.
	spec spec
	in   input.Input
	log  *slog.Logger

	cancel context.CancelFunc // nil: it does not run
	all    sync.WaitGroup

	mu     sync.Mutex
	failed error // why it does not run now
}

// start runs the input, again when it has failed, until ctx ends or stop is called.
func (r *runner) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	r.all.Go(func() { r.run(ctx) })
}

// stop ends the input and waits for it.
func (r *runner) stop() {
	if r.cancel != nil {
		r.cancel()
		r.all.Wait()
		r.cancel = nil
	}
}

func (r *runner) run(ctx context.Context) {
	for rest := shortestRest; ; rest = min(2*rest, longestRest) {
		began := time.Now()
		err := r.in.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it has ended")
		}
		if time.Since(began) > longestRest {
			rest = shortestRest
		}
		st := r.in.Status()
		r.log.Error("an input has failed and is started again", "input", st.Kind, "name", st.Name, "in", rest, "err", err)
		r.fails(err)
		select {
		case <-time.After(rest):
			r.fails(nil)
		case <-ctx.Done():
			return
		}
	}
}

func (r *runner) fails(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
}

// status returns how the input stands.
func (r *runner) status() input.Status {
	st := r.in.Status()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		st.Trouble = r.failed.Error()
	}
	return st
}
