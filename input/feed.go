package input

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/fieldpost/fieldpost/agent"
)

// Agent is what a Feed needs of an agent; [agent.Agent] has it. The methods are
// called concurrently.
type Agent interface {
	// LaneOf returns the lane that a message goes to, or agent.ErrUnknownLane.
	LaneOf(m *agent.Message) (string, error)

	// SendFrom stores messages and checkpoints in one transaction, all or nothing.
	SendFrom(ctx context.Context, lane string, list []agent.Message, checkpoints ...agent.Checkpoint) error

	// Checkpoints returns, by lane, what was stored by SendFrom.
	Checkpoints() map[string][]agent.Checkpoint
}

// Feed carries what inputs read into an agent's lanes. Its methods may be called
// concurrently.
type Feed struct {
	to  Agent
	log *slog.Logger

	mu      sync.Mutex
	sources map[string]*Source
}

// NewFeed returns the feed of an agent, with the sources that its lanes remember. A
// nil logger logs nothing. The error is a checkpoint that cannot be understood.
func NewFeed(to Agent, log *slog.Logger) (*Feed, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{to: to, log: log, sources: map[string]*Source{}}
	for lane, list := range to.Checkpoints() {
		for _, c := range list {
			r, err := parseRecord(c.At)
			if err != nil {
				return nil, fmt.Errorf("lane %s, source %.200q: %w", lane, c.Source, err)
			}
			s := f.source(c.Source)
			s.at[lane] = r
			if s.last == nil || s.last.n < r.n {
				s.last = r
			}
		}
	}
	return f, nil
}

// Sources returns the names of the sources that the agent's lanes remember and that
// begin with prefix, in order.
func (f *Feed) Sources(prefix string) (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.sources {
		if strings.HasPrefix(name, prefix) && s.Known() {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// Source returns the source of a name, 1 to 1,024 bytes. Each name gives one Source,
// whose Send, Resume, Abandon and Forget are for one goroutine at a time.
func (f *Feed) Source(name string) *Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.source(name)
}

func (f *Feed) source(name string) *Source {
	s := f.sources[name]
	if s == nil {
		s = &Source{feed: f, name: name, at: map[string]*record{}}
		f.sources[name] = s
	}
	return s
}

// takes reports whether a lane takes messages.
func (f *Feed) takes(lane string) bool {
	_, err := f.to.LaneOf(&agent.Message{Lane: lane})
	return err == nil
}

// home returns the lane for a checkpoint that has no messages.
func (f *Feed) home(s *Source) string {
	if s.last != nil {
		for _, lane := range s.last.lanes {
			if f.takes(lane) {
				return lane
			}
		}
	}
	return defaultLane
}

const defaultLane = "default" // always there
