package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/input/exec"
	"github.com/fieldpost/fieldpost/input/host"
	"github.com/fieldpost/fieldpost/input/tail"
	"github.com/fieldpost/fieldpost/internal/config"
)

// fullStatus is what a running daemon says of itself: the agent's status, and what
// it reads.
type fullStatus struct {
	agent.Status
	Inputs []input.Status `json:"inputs,omitempty"` // besides standard input
}

// inputs are what the daemon reads besides standard input.
type inputs struct {
	list []input.Input
	log  *slog.Logger

	mu     sync.Mutex
	failed map[int]error // why an input does not run now, by place in list
}

// newInputs makes the inputs of a configuration; none runs yet.
func newInputs(a *agent.Agent, c config.Inputs, log *slog.Logger) (*inputs, error) {
	in := &inputs{log: log, failed: map[int]error{}}
	if len(c.Files) > 0 {
		var rules []tail.Rule
		for _, f := range c.Files {
			rules = append(rules, tail.Rule{
				Paths: f.Paths, Exclude: f.Exclude, Topic: f.Topic, Lane: f.Lane, FromEnd: f.FromEnd,
				Multiline: tail.Multiline{Start: f.Start, Continue: f.Continue}, MaxLine: int(f.MaxLine), Flush: f.Flush,
			})
		}
		files, err := newFiles(a, rules, log)
		if err != nil {
			return nil, err
		}
		in.list = append(in.list, files)
	}
	if h := c.Host; h != nil {
		in.list = append(in.list, host.New(a, host.Config{Topic: h.Topic, Lane: h.Lane, Interval: h.Interval, Only: h.Only, Logger: log}))
	}
	for _, x := range c.Exec {
		in.list = append(in.list, exec.New(a, exec.Config{
			Command: x.Command, Dir: x.Dir, Interval: x.Interval, Timeout: x.Timeout, Topic: x.Topic, Lane: x.Lane, Logger: log,
		}))
	}
	return in, nil
}

// How long an input that has failed rests before it is started again.
const (
	shortestRest = time.Second
	longestRest  = time.Minute
)

// run runs the inputs until ctx ends, each again when it has failed.
func (in *inputs) run(ctx context.Context) {
	var all sync.WaitGroup
	for i, one := range in.list {
		all.Go(func() {
			for rest := shortestRest; ; rest = min(2*rest, longestRest) {
				began := time.Now()
				err := one.Run(ctx)
				if ctx.Err() != nil {
					return
				}
				if err == nil {
					err = errors.New("it has ended")
				}
				if time.Since(began) > longestRest {
					rest = shortestRest
				}
				in.log.Error("an input has failed and is started again", "input", one.Status().Kind, "name", one.Status().Name, "in", rest, "err", err)
				in.fails(i, err)
				select {
				case <-time.After(rest):
					in.fails(i, nil)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
}

func (in *inputs) fails(i int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.failed[i] = err
}

// status returns how the inputs stand. in may be nil.
func (in *inputs) status() (list []input.Status) {
	if in == nil {
		return nil
	}
	for i, one := range in.list {
		st := one.Status()
		in.mu.Lock()
		if err := in.failed[i]; err != nil {
			st.Trouble = err.Error()
		}
		in.mu.Unlock()
		list = append(list, st)
	}
	return list
}

// inputNotes says of an input what its line in the table does not.
func inputNotes(st *input.Status) (list []string) {
	if st.Trouble != "" {
		list = append(list, config.Printable(st.Trouble))
	}
	for _, p := range st.Sources {
		if trouble := fmt.Sprintf("%s: %s", p.Name, p.Trouble); p.Trouble != "" && trouble != st.Trouble && len(list) < 10 {
			list = append(list, config.Printable(trouble))
		}
	}
	for _, n := range []struct {
		count uint64
		text  string
	}{
		{st.Dropped, "%d messages were dropped by a lane's policy"},
		{st.TooLong, "%d messages were above the limit, and were cut or passed over; the log names those that were passed over"},
		{st.Missed, "%d samples or lines could not be handed in; the log says why"},
		{uint64(max(0, st.Unread)), "%d bytes were gone before they were read"},
		{st.Restarts, "the command was started %d times again"},
	} {
		if n.count > 0 {
			list = append(list, fmt.Sprintf(n.text, n.count))
		}
	}
	return list
}

// inputName is an input's name for people.
func inputName(st *input.Status) string {
	const widest = 60
	name := []rune(config.Printable(filepath.ToSlash(st.Name)))
	if len(name) > widest {
		name = append(name[:widest-1], '…')
	}
	return st.Kind + " " + string(name)
}
