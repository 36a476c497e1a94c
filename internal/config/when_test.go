package config

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2026-01-31T12:00:00+01:00": time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC),
		"2026-01-31T12:00:00.5Z":    time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC),
		"2026-01-31":                time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"24h":                       time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		"1m30s":                     now.Add(-90 * time.Second),
		"0s":                        now,
	} {
		if got, err := ParseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "yesterday", "-1h", "12:00", "2026-01-31T12:00:00", "5"} {
		if got, err := ParseTime(s, now); err == nil {
			t.Errorf("ParseTime(%q) = %s, want an error", s, got)
		}
	}
}
