package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/transport"
)

// lateAfter is how old the oldest message of a lane may be.
const lateAfter = 15 * time.Minute

// linkCheck looks at the link of the running agent.
func (e *examination) linkCheck() doctor.Check {
	return doctor.Check{Group: "delivery", Name: "link", Time: 8 * time.Second, Needs: []string{"folder"}, Run: func(context.Context) []doctor.Finding {
		st, err := e.status()
		if err != nil {
			return e.unknown(err)
		}
		return judgeLink(&st.Link, time.Now())
	}}
}

// unknown is what a check says that cannot ask.
func (e *examination) unknown(err error) []doctor.Finding {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not look")}
	case errors.Is(err, fs.ErrNotExist):
		return []doctor.Finding{doctor.Doubt("see identity", "it is no agent's folder")}
	case errors.Is(err, agent.ErrInUse):
		return []doctor.Finding{doctor.Doubt("ask that program", "another program has the folder, and answers no commands")}
	}
	return []doctor.Finding{doctor.Bad("see daemon", "%v", err)}
}

// afterFailure says what to do about a link that fails, by its cause.
var afterFailure = map[transport.Cause]string{
	transport.CauseName: "see names", transport.CauseRoute: "see route", transport.CauseRefused: "see port", transport.CauseTimeout: "see port and tls",
	transport.CauseClosed: "see tls; look at the collector's log", transport.CauseTLS: "see tls and certificate", transport.CauseClock: "see clock",
	transport.CauseExpired: "see certificate", transport.CauseLocal: "see descriptors", transport.CauseQueue: "see disk-space and queue",
	transport.CauseVersion: "update whichever of agent and collector is older", transport.CauseIdentity: "see identity: enrol again",
	transport.CauseRevoked: "enrol with a new token, if this agent is to come back", transport.CausePlaintext: "enrol, and leave insecure_plaintext out",
	transport.CauseStoreFails: "collector doctor on that machine: its store takes nothing", transport.CauseBusy: "wait: the collector sheds load",
	transport.CauseFenced: "find the clone: collector agents names it",
}

// judgeLink says how the link stands.
func judgeLink(l *agent.LinkStatus, now time.Time) []doctor.Finding {
	state := transport.State(l.State)
	next := cmp.Or(afterFailure[transport.Cause(l.Cause)], "agent status says more")
	why := ""
	if l.Error != "" {
		why = fmt.Sprintf(", %s: %s", l.Cause, l.Error)
	}
	switch state {
	case transport.Stopped:
		return []doctor.Finding{doctor.Good("no agent runs, so there is no link")}
	case transport.NotEnrolled:
		return []doctor.Finding{doctor.Bad("see certificate", "not enrolled: nothing is delivered")}
	case transport.DifferentStore:
		return []doctor.Finding{doctor.Bad("point the agent at the collector of its store, or start this one with --replaces", "the address leads to another store%s", why)}
	case transport.DuplicateIdentity:
		return []doctor.Finding{doctor.Bad("find the clone (collector agents names host and address), and give it an id and a folder of its own", "another process uses this agent's id%s", why)}
	case transport.Connected:
	case transport.Connecting:
		if l.Attempts == 0 {
			return []doctor.Finding{doctor.Doubt("run this again in a moment", "connecting to %s", l.Collector)}
		}
		fallthrough
	default:
		return []doctor.Finding{doctor.Bad(next, "%s to %s after %s%s", state, l.Collector, plural(uint64(max(0, l.Attempts)), "failed attempt", "failed attempts"), why)}
	}
	list := []doctor.Finding{}
	text := fmt.Sprintf("connected to %s for %s", l.Collector, ago(now.Sub(l.Since)))
	if l.RTT > 0 {
		text += fmt.Sprintf(", round trip %s", time.Duration(l.RTT).Round(10*time.Microsecond))
	}
	switch {
	case !l.FailedAt.IsZero() && now.Sub(l.FailedAt) < 15*time.Minute && l.Links > 3:
		list = append(list, doctor.Doubt(next, "%s, but it breaks: %d links since the start, the last failure %s ago%s", text, l.Links, ago(now.Sub(l.FailedAt)), why))
	default:
		list = append(list, doctor.Good("%s", text))
	}
	if l.Exposed != "" {
		list = append(list, doctor.Doubt("enrol the agent and leave insecure_plaintext out on both sides", "%s", l.Exposed))
	}
	return list
}

// queueCheck looks at all lanes.
func (e *examination) queueCheck() doctor.Check {
	return doctor.Check{Group: "delivery", Name: "queue", Time: 12 * time.Second, Needs: []string{"folder"}, Run: func(context.Context) []doctor.Finding {
		list, err := e.lanes()
		if list.Lanes == nil && err != nil {
			return e.unknown(err)
		}
		st, _ := e.status() // without it, a lane is late all the same
		linked := st.Link.State == string(transport.Connected)
		var found []doctor.Finding
		for i := range list.Lanes {
			for _, f := range judgeLane(&list.Lanes[i], linked) {
				found = append(found, f.For("lane "+list.Lanes[i].Lane))
			}
		}
		if err != nil && !errors.Is(err, agent.ErrNotAQueue) && list.Agent != "" {
			found = append(found, doctor.Bad("agent queue verify names what is damaged", "%v", err))
		}
		if found == nil {
			found = append(found, doctor.Good("there are no lanes yet"))
		}
		return found
	}}
}

// judgeLane says how a lane stands: one line, and one more for each thing that is not
// as it should be.
func judgeLane(l *agent.LaneContents, linked bool) (list []doctor.Finding) {
	st := &l.Status
	for _, d := range l.Damage {
		list = append(list, doctor.Bad("agent queue verify names what is damaged; the agent saves what it can as it meets it, or now: agent queue repair", "damaged: %s", d))
	}
	why := l.Why
	if why != "" {
		why = ": " + why
	}
	switch l.State {
	case "failing":
		list = append(list, doctor.Bad("see disk-space, file-system and permissions; it is tried again by itself", "it accepts nothing%s", why))
	case "stopped":
		list = append(list, doctor.Bad("agent queue dead ls says what was refused and why; then restart the agent", "it is stopped%s", why))
	case "full":
		list = append(list, doctor.Bad("see link: what is delivered makes room; else raise max_bytes or max_messages, or choose another overflow", "it is full%s", why))
	default:
		if st.Trouble != "" {
			list = append(list, doctor.Bad("agent queue verify; it is tried again by itself", "%s", st.Trouble))
		}
	}
	age := time.Duration(st.OldestAge)
	text := fmt.Sprintf("%s, %d accepted, nothing waits", l.State, st.Accepted)
	if st.Backlog > 0 {
		text = fmt.Sprintf("%s, %d accepted, %s of %s waits, the oldest for %s", l.State, st.Accepted,
			plural(st.Backlog, "message", "messages"), config.Approximate(st.BacklogBytes), ago(age))
	}
	switch {
	case st.Backlog > 0 && age > lateAfter && linked:
		list = append(list, doctor.Doubt("if the number falls, wait; else look at the line's speed and at the collector", "%s, though there is a link", text))
	case st.Backlog > 0 && age > lateAfter:
		list = append(list, doctor.Doubt("see link: it is delivered once there is one; nothing is lost until the lane's limits are reached", "%s", text))
	default:
		list = append(list, doctor.Good("%s", text))
	}
	return append(list, losses(st)...)
}

// losses says what a lane has dropped or put aside.
func losses(st *agent.LaneStatus) (list []doctor.Finding) {
	var dropped []string
	for _, reason := range slices.Sorted(maps.Keys(st.Dropped)) {
		if n := st.Dropped[reason]; n > 0 {
			dropped = append(dropped, fmt.Sprintf("%d %s", n, reason))
		}
	}
	if dropped != nil {
		list = append(list, doctor.Doubt(`"The audit" in OPERATIONS.md says what to do about each reason; collector audit has the same numbers`, "dropped: %s", strings.Join(dropped, ", ")))
	}
	if st.LettersKept > 0 {
		list = append(list, doctor.Doubt("agent queue dead ls says why; then retry or discard them", "%s", plural(st.LettersKept, "dead letter is kept", "dead letters are kept")))
	}
	if st.LettersLost > 0 {
		list = append(list, doctor.Doubt("look after dead letters in time: agent queue dead ls", "%s", plural(st.LettersLost, "dead letter is gone, because there were too many", "dead letters are gone, because there were too many")))
	}
	if st.Quarantined > 0 {
		list = append(list, doctor.Doubt("agent queue verify; agent queue repair --reenter FILE takes what is whole in it", "%s kept", plural(uint64(st.Quarantined), "damaged file is", "damaged files are")))
	}
	if st.Forks+st.RolledBack > 0 {
		list = append(list, doctor.Doubt("was it restored from an older copy, set back to a snapshot, or cloned? collector agents ID has the history", "folder and store had parted, or memory went back: %s", plural(st.Forks+st.RolledBack, "time", "times")))
	}
	return list
}
