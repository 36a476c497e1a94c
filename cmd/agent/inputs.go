package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

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

// inputs are what the daemon reads besides standard input. They may change while they
// run; see prepare.
type inputs struct {
	agent *agent.Agent
	log   *slog.Logger
	feed  *feeder

	mu   sync.Mutex
	ctx  context.Context // of those that run; nil: none does yet
	list []*runner
}

// newInputs makes the inputs of a configuration; none runs yet.
func newInputs(a *agent.Agent, c config.Inputs, log *slog.Logger) *inputs {
	in := &inputs{agent: a, log: log, feed: &feeder{agent: a, log: log}}
	for _, what := range specs(c) {
		in.list = append(in.list, in.runner(what))
	}
	return in
}

// spec is an input as it is configured.
type spec struct {
	kind, key string // the same key: the same input
	build     func(in *inputs) input.Input
}

func (in *inputs) runner(s spec) *runner { return &runner{spec: s, in: s.build(in), log: in.log} }

// specs returns the inputs of a configuration, in their order.
func specs(c config.Inputs) (list []spec) {
	add := func(kind string, of any, build func(*inputs) input.Input) {
		key, _ := json.Marshal(of) // it has strings and numbers only
		list = append(list, spec{kind, kind + string(key), build})
	}
	if len(c.Files) > 0 {
		add("file", c.Files, func(in *inputs) input.Input {
			var rules []tail.Rule
			for _, f := range c.Files {
				rules = append(rules, tail.Rule{
					Paths: f.Paths, Exclude: f.Exclude, Topic: f.Topic, Lane: f.Lane, FromEnd: f.FromEnd,
					Multiline: tail.Multiline{Start: f.Start, Continue: f.Continue}, MaxLine: int(f.MaxLine), Flush: f.Flush,
				})
			}
			return &files{feeder: in.feed, rules: rules, log: in.log}
		})
	}
	if h := c.Host; h != nil {
		add("host", h, func(in *inputs) input.Input {
			return host.New(in.agent, host.Config{Topic: h.Topic, Lane: h.Lane, Interval: h.Interval, Only: h.Only, Logger: in.log})
		})
	}
	for _, x := range c.Exec {
		add("exec", x, func(in *inputs) input.Input {
			return exec.New(in.agent, exec.Config{
				Command: x.Command, Dir: x.Dir, Interval: x.Interval, Timeout: x.Timeout, Topic: x.Topic, Lane: x.Lane, Logger: in.log,
			})
		})
	}
	return list
}

// run runs the inputs until ctx ends.
func (in *inputs) run(ctx context.Context) {
	in.mu.Lock()
	in.ctx = ctx
	for _, r := range in.list {
		r.start(ctx)
	}
	in.mu.Unlock()
	<-ctx.Done()
	in.mu.Lock() // until a change that is under way is through
	defer in.mu.Unlock()
	for _, r := range in.list {
		r.stop()
	}
}

// status returns how the inputs stand. in may be nil.
func (in *inputs) status() (list []input.Status) {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, r := range in.list {
		list = append(list, r.status())
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
