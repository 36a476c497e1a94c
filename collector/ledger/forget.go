package ledger

import (
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Forgetting says who has given an agent up, when and why.
type Forgetting struct {
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`

	// GivenUp is how many numbers had been announced and were settled nowhere: with
	// the agent they are given up.
	GivenUp uint64 `json:"given_up"`

	// Record is the store's own number of the event: once nothing that came before
	// it is kept, nothing needs to be known of the agent.
	Record uint64 `json:"-"`
}

// Forgotten is the event of an operator who gives an agent up.
type Forgotten struct {
	Time       time.Time
	By, Reason string
	Record     uint64
}

// forgottenBounds is how many boundaries are kept of a stream of a forgotten agent.
const forgottenBounds = 256

// Forgotten returns who has given the agent up, nil if nobody has or if it has come
// back since. It must not be changed.
func (a *Agent) Forgotten() *Forgetting { return a.forgotten }

// ApplyForget lets an agent go. Its session is fenced, what was announced and not
// settled is given up, and all that is there for people goes. What is left is what
// keeps a message from being stored twice as long as the store has it: of each
// stream its watermark and its newest boundaries. An agent that does come back goes
// on behind them.
func (a *Agent) ApplyForget(e Forgotten) {
	a.forgotten = &Forgetting{Time: e.Time, By: e.By, Reason: e.Reason, GivenUp: a.Backlog(), Record: e.Record}
	a.live, a.instance = wire.Session{Number: a.live.Number + 1}, wire.Instance{} // that nobody was granted
	a.told, a.resumed = 0, 0
	a.software, a.host, a.address, a.parting = "", wire.Host{}, "", nil
	a.open, a.fenced, a.incidents = nil, nil, nil
	a.closings = settledClosings(a.closings)
	for i := range a.streams {
		s := a.edit(i)
		s.moved, s.Ahead, s.Next = false, nil, s.W+1
		if n := len(s.History) - forgottenBounds; n > 0 {
			s.History = append(wire.History(nil), s.History[n:]...)
			s.ends = append([]wire.Fingerprint(nil), s.ends[n:]...)
		}
	}
}

// settledClosings returns the closings of what the records say: lost and missing
// numbers. Announcements are forgotten, and with them what was accepted of those.
func settledClosings(list []Closing) (out []Closing) {
	for _, c := range list {
		var ranges []Accepted
		for _, r := range c.Ranges {
			if r.Claim != ClaimUnexplained {
				ranges = append(ranges, r)
			}
		}
		if c.Ranges = ranges; len(ranges) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// back notes that a forgotten agent is heard of again.
func (a *Agent) back(now time.Time) {
	f := a.forgotten
	if f == nil {
		return
	}
	a.forgotten = nil
	detail := fmt.Sprintf("%s had forgotten it at %s", f.By, f.Time.UTC().Format(time.RFC3339))
	if f.Reason != "" {
		detail += ": " + f.Reason
	}
	a.incident(Incident{Kind: IncidentCameBack, First: now, Detail: detail})
}
