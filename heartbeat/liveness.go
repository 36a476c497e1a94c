package heartbeat

import (
	"slices"
	"time"
)

// State is what a collector says of an agent.
type State string

// The states.
const (
	Unknown State = "unknown" // not heard since the collector started, which was less than two intervals ago
	Online  State = "online"  // linked and heard
	Late    State = "late"    // one interval missed
	Offline State = "offline" // two intervals missed
	Goodbye State = "goodbye" // left and said so
)

// Change is one change of state.
type Change struct {
	From, To State
	Time     time.Time // when it became so, which may be before it was looked at
	Cause    string    // a goodbye's reason, a lost link's cause, or what was seen; may hold the peer's text, unescaped
}

const (
	flapChanges   = 3  // so many changes ...
	flapIntervals = 10 // ... within so many intervals, and online must hold for one first
)

// Liveness judges one agent.
//
//	unknown --heard--> online --1 missed--> late --2 missed--> offline
//	   |                 ^ ^                 |                    |
//	   |                 | +------heard------+                    |
//	   |                 +--------------connected-----------------+
//	   +--2 intervals after the start--> offline        goodbye from all, back by connected
//
// An interval is missed when nothing is heard for it and a grace of a tenth of
// it, at least [Slack]. A lost link alone changes nothing: the intervals count
// from its loss, so one that comes back within an interval leaves no trace. When
// the last three changes (the first word on an agent not counted) lie within ten
// intervals, the agent is called online again only when it is heard an interval
// or more after it came back, without a missed interval or a lost link between.
//
// What Liveness says depends only on what it is told and when, not on how often
// it is asked. Times that run backwards are taken as equal to the latest.
type Liveness struct {
	interval time.Duration
	now      time.Time // latest time it was told

	state State
	since time.Time
	cause string

	heard   time.Time // intervals count from here: last byte, loss of the link, or the start
	linked  bool
	met     bool        // linked at least once
	left    bool        // said goodbye, not linked since
	lost    string      // why the last link ended, "" while linked
	steady  time.Time   // while online must hold first: since when it does, else zero
	recent  []time.Time // of the last changes, at most flapChanges
	pending []Change
}

// NewLiveness returns the judge of an agent that has not been heard since the
// collector started, at start. For an agent whose last parting is known, tell it
// at once by [Liveness.Goodbye] or [Liveness.Lost].
func NewLiveness(interval time.Duration, start time.Time) *Liveness {
	return &Liveness{interval: interval, now: start, state: Unknown, since: start, cause: "the collector has started", heard: start}
}

// State returns the state as of the last call with a time.
func (l *Liveness) State() State { return l.state }

// Since returns when the state began.
func (l *Liveness) Since() time.Time { return l.since }

// Cause returns why the state began; see [Change].
func (l *Liveness) Cause() string { return l.cause }

// SetInterval changes the interval, for a link with other terms than the one
// before. What was missed by now stays missed.
func (l *Liveness) SetInterval(now time.Time, interval time.Duration) {
	l.advance(now)
	l.interval = interval
	l.advance(now)
}

// Connected notes that the agent has a link: its hello was answered by a
// welcome. An agent has one link; a new one takes the place of the old.
func (l *Liveness) Connected(now time.Time) {
	l.advance(now)
	l.heard, l.linked, l.met, l.left, l.lost = l.now, true, true, false, ""
	l.steady = time.Time{}
	l.rise("connected")
}

// Heard notes that a byte came in on the agent's link. Without a link it is
// ignored.
func (l *Liveness) Heard(now time.Time) {
	l.advance(now)
	if !l.linked {
		return
	}
	if !l.now.Before(l.missed(1)) {
		l.steady = time.Time{}
	}
	l.heard = l.now
	l.rise("heard again")
}

// Lost notes that the agent's link has ended without a goodbye. The end of a
// link that a newer one has replaced must not be passed.
func (l *Liveness) Lost(now time.Time, cause string) {
	l.advance(now)
	if l.left {
		return
	}
	if l.linked && l.now.Before(l.missed(1)) {
		l.heard = l.now // the link was good until now
	}
	l.linked, l.lost, l.steady = false, cause, time.Time{}
}

// Goodbye notes that the agent has left on purpose, which ends its link.
func (l *Liveness) Goodbye(now time.Time, reason string) {
	l.advance(now)
	l.linked, l.left, l.lost, l.steady = false, true, "", time.Time{}
	if l.state != Goodbye {
		l.change(Goodbye, l.now, reason)
		return
	}
	l.since, l.cause = l.now, reason
}

// Check returns the oldest change not returned yet, false if there is none. It
// is to be called until it returns false, after each call of another method and
// when [Liveness.Next] has come.
func (l *Liveness) Check(now time.Time) (Change, bool) {
	l.advance(now)
	if len(l.pending) == 0 {
		return Change{}, false
	}
	c := l.pending[0]
	l.pending = slices.Delete(l.pending, 0, 1)
	return c, true
}

// Next returns when the state changes by itself if nothing happens; zero if it
// does not.
func (l *Liveness) Next() time.Time {
	if len(l.pending) > 0 {
		return l.pending[0].Time
	}
	at, _ := l.ahead()
	return at
}

// missed returns when n intervals count as missed.
func (l *Liveness) missed(n int) time.Time {
	return l.heard.Add(time.Duration(n)*l.interval + max(Slack, l.interval/10))
}

// ahead returns the next state that time alone brings and when; a zero time
// means none.
func (l *Liveness) ahead() (time.Time, State) {
	switch {
	case l.left || l.state == Offline:
		return time.Time{}, ""
	case l.state == Online || l.state == Goodbye:
		return l.missed(1), Late
	default:
		return l.missed(2), Offline
	}
}

// advance lets the time pass until now.
func (l *Liveness) advance(now time.Time) {
	l.now = later(l.now, now)
	for {
		at, to := l.ahead()
		if at.IsZero() || at.After(l.now) {
			return
		}
		cause := "nothing heard for " + at.Sub(l.heard).String()
		switch {
		case l.lost != "":
			cause = "link lost: " + l.lost
		case !l.met:
			cause = "not heard since the collector started"
		}
		l.change(to, at, cause)
	}
}

// rise makes a linked and heard agent online, or sees to it that this holds for
// an interval first.
func (l *Liveness) rise(cause string) {
	switch {
	case l.state == Online:
	case l.steady.IsZero() && l.flaps():
		l.steady = l.now
	case l.steady.IsZero():
		l.change(Online, l.now, cause)
	case l.now.Sub(l.steady) >= l.interval:
		l.steady = time.Time{}
		l.change(Online, l.now, "steady for "+l.interval.String()+" after repeated changes")
	}
}

// flaps reports whether the last changes followed each other too fast.
func (l *Liveness) flaps() bool {
	return len(l.recent) == flapChanges && l.now.Sub(l.recent[0]) < flapIntervals*l.interval
}

func (l *Liveness) change(to State, at time.Time, cause string) {
	if l.state != Unknown { // the first word on an agent is no flap
		if l.recent = append(l.recent, at); len(l.recent) > flapChanges {
			l.recent = slices.Delete(l.recent, 0, 1)
		}
	}
	l.pending = append(l.pending, Change{l.state, to, at, cause})
	l.state, l.since, l.cause = to, at, cause
}
