package export

import (
	"fmt"
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

// ParseTime reads a point in time: RFC 3339, a date (its beginning, UTC), or a
// duration before now, as in 90m or 24h.
func ParseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%.40q is not a time; write 2026-01-31T12:00:00Z, 2026-01-31, or how long ago, as in 90m or 24h", s)
}
