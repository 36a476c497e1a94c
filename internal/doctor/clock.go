package doctor

import (
	"context"
	"fmt"
	"time"
)

// Clock is what is known of this machine's clock.
type Clock struct {
	// NotBefore is a time that has certainly passed, zero if none is known: when the
	// certificate was made, when the folder was last written.
	NotBefore time.Time

	// Offset tells by how much the collector's clock is ahead of this one; false if
	// nobody has told. Nil: there is no other clock.
	Offset func() (offset time.Duration, known bool)

	// Jump tells by how much this clock was set since the daemon began, 0 if it was not
	// or none runs.
	Jump func(ctx context.Context) time.Duration

	now  func() time.Time          // for tests; nil: time.Now
	sync func() (syncState, error) // for tests; nil: the system's
}

// syncState says whether a time service keeps the clock.
type syncState struct {
	known, synced bool
	text          string
}

// How far a clock may be off.
const (
	clockDoubt = 2 * time.Second
	clockBad   = 5 * time.Minute // certificates are backdated by an hour
	clockJump  = time.Minute
)

// earliest is a time before which no clock of a machine with this program is right.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const setClock = "set the clock, and let a time service keep it (chrony, systemd-timesyncd, W32Time)"

// Checks returns the checks of the clock.
func (c *Clock) Checks() []Check {
	return []Check{
		{Group: "clock", Name: "clock", Run: c.right},
		{Group: "clock", Name: "time-service", Run: c.kept},
	}
}

func (c *Clock) right(ctx context.Context) (list []Finding) {
	now := time.Now()
	if c.now != nil {
		now = c.now()
	}
	switch {
	case now.Before(earliest):
		return []Finding{Bad(setClock, "the clock says %s: it has not been set since the machine started", stamp(now))}
	case now.Before(c.NotBefore.Add(-time.Minute)):
		return []Finding{Bad(setClock, "the clock says %s, but files and certificates here were made at %s", stamp(now), stamp(c.NotBefore))}
	}
	list = append(list, c.compared(now))
	if c.Jump != nil {
		if jump := c.Jump(ctx); jump.Abs() > clockJump {
			list = append(list, Doubt("nothing is lost by it; messages carry the time that the clock said: find out who sets it", "the clock was set by %s since the daemon began", round(jump)).For("jump"))
		}
	}
	return list
}

// compared judges the clock by the collector's.
func (c *Clock) compared(now time.Time) Finding {
	if c.Offset == nil {
		return Good("the clock says %s", stamp(now))
	}
	offset, known := c.Offset()
	if !known {
		return Good("the clock says %s; no collector has told its time yet", stamp(now))
	}
	ahead := "behind"
	if offset < 0 {
		ahead = "ahead of"
	}
	text := fmt.Sprintf("the clock says %s, %s %s the collector's", stamp(now), round(offset.Abs()), ahead)
	const next = setClock + "; find out which of the two is wrong"
	switch off := offset.Abs(); {
	case off > clockBad:
		return Bad(next, "%s", text)
	case off > clockDoubt:
		return Doubt(next, "%s", text)
	}
	return Good("%s", text)
}

func (c *Clock) kept(context.Context) []Finding {
	look := syncStatus
	if c.sync != nil {
		look = c.sync
	}
	s, err := look()
	switch {
	case err != nil:
		return []Finding{Doubt("ask the time service itself", "it cannot be told whether a time service keeps the clock: %v", err)}
	case !s.known:
		return []Finding{Good("%s", s.text)}
	case !s.synced:
		return []Finding{Doubt("start a time service (chrony, systemd-timesyncd, W32Time); without one the clock drifts by seconds a day", "%s", s.text)}
	}
	return []Finding{Good("%s", s.text)}
}
