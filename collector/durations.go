package collector

import "time"

// DurationBounds are the bounds of [Durations.Within], ascending.
var DurationBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

// Durations says how long something took. The zero value has counted nothing.
type Durations struct {
	Count  uint64                      `json:"count"`
	Sum    time.Duration               `json:"sum"`    // ns
	Within [len(DurationBounds)]uint64 `json:"within"` // how many took no longer than the bound of the same index
}

// Note counts one more. It must not be called concurrently.
func (d *Durations) Note(took time.Duration) {
	d.Count++
	d.Sum += took
	for i := len(DurationBounds) - 1; i >= 0 && took <= DurationBounds[i]; i-- {
		d.Within[i]++
	}
}
