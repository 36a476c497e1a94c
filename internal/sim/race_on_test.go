//go:build race

package sim

// The race detector makes schedules many times as slow: a part of them has to do.
const defaultSchedules = 100
