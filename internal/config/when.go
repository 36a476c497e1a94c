package config

import (
	"fmt"
	"time"
)

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
