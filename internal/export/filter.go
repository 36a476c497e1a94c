package export

import (
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// Filter says which messages are wanted. The zero Filter takes all; each field
// that is set takes some away.
type Filter struct {
	Agent wire.AgentID
	Lane  wire.Lane
	Topic Glob
	Since time.Time // received then or later, by the collector's clock
	Until time.Time // received before, by the collector's clock
}

// entry reports whether messages of s can pass; their topics are not known yet.
func (f *Filter) entry(s collector.Stored) bool {
	return (f.Agent == "" || f.Agent == s.Agent) &&
		(f.Lane == "" || f.Lane == s.Stream.Lane) &&
		(f.Since.IsZero() || !s.Received.Before(f.Since)) &&
		(f.Until.IsZero() || s.Received.Before(f.Until))
}

func (f *Filter) topic(t string) bool { return f.Topic == "" || f.Topic.Match(t) }
