// Package heartbeat has the rules of pacing and liveness that both sides of a
// link follow. They are pure: no goroutines, no I/O, no clock. The time is an
// argument, so a test may let years pass.
//
//	         one link, each side has its own              one agent, at the collector
//	              +-------+                                     +----------+
//	bytes in ---->|       |----> ping now?    hello, bytes ---->|          |----> Change{From, To, Time, Cause}
//	bytes out --->| Pacer |----> peer dead?   link lost ------->| Liveness |
//	pongs ------->|       |----> RTT          goodbye --------->|          |----> when to look again
//	              +-------+                                     +----------+
//
// What it promises:
//
//   - A live peer that follows the same rules is never taken for dead, as long as
//     the link delays its bytes by less than an interval.
//   - A dead peer is noticed after two intervals and [Slack].
//   - An agent's states do not flap with its link; see [Liveness].
//
// What it does not: it sets no deadlines, sends nothing and logs nothing; the
// transport and the collector do. It judges links and agents, not queues: an
// agent with a huge backlog is online.
//
// None of the types may be used concurrently.
package heartbeat

import (
	"fmt"
	"time"
)

// The limits of an interval.
const (
	DefaultInterval = 30 * time.Second
	MinInterval     = 100 * time.Millisecond
	MaxInterval     = time.Hour
)

// Slack is what a link may take on top of whole intervals before its peer counts
// as dead. With it a half-open link is noticed well within two intervals and one
// second.
const Slack = 500 * time.Millisecond

// CheckInterval returns an error that says what to set unless d is an interval
// that both sides can keep: [MinInterval] to [MaxInterval].
func CheckInterval(d time.Duration) error {
	if d < MinInterval || d > MaxInterval {
		return fmt.Errorf("heartbeat interval %s: set one from %s to %s", d, MinInterval, MaxInterval)
	}
	return nil
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
