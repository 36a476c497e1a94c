package oracle

import (
	"fmt"
	"strings"
)

// Tally counts messages.
type Tally struct {
	Accepted  int // Send returned nil
	Uncertain int // nobody knows what Send would have returned
	Stored    int // accepted ones that are stored, once or more
	Survived  int // uncertain ones that are stored: allowed
	Declared  int // accepted ones that are not stored, and a true declaration says why: allowed
	Missing   int // accepted, but not stored
	Doubled   int // stored once more than they were sent
	Misplaced int // stored after one that its producer sent later
	Foreign   int // stored, but nobody sent it, or Send had refused it
	Untrue    int // numbers whose declaration is not true
}

func accepted(t *Tally) *int   { return &t.Accepted }
func uncertain(t *Tally) *int  { return &t.Uncertain }
func isStored(t *Tally) *int   { return &t.Stored }
func survived(t *Tally) *int   { return &t.Survived }
func isDeclared(t *Tally) *int { return &t.Declared }
func missing(t *Tally) *int    { return &t.Missing }
func doubled(t *Tally) *int    { return &t.Doubled }
func misplaced(t *Tally) *int  { return &t.Misplaced }
func foreign(t *Tally) *int    { return &t.Foreign }
func untrue(t *Tally) *int     { return &t.Untrue }

// OK reports whether every accepted message is stored once and in order, and
// nothing is stored that was not sent. A message that a true declaration names
// counts as stored.
func (t Tally) OK() bool {
	return t.Missing == 0 && t.Doubled == 0 && t.Misplaced == 0 && t.Foreign == 0 && t.Untrue == 0
}

// String returns all counts in a line.
func (t Tally) String() string {
	s := fmt.Sprintf("accepted %d, stored %d, missing %d, doubled %d, out of order %d, never sent %d; %d uncertain, of them stored %d",
		t.Accepted, t.Stored, t.Missing, t.Doubled, t.Misplaced, t.Foreign, t.Uncertain, t.Survived)
	if t.Declared+t.Untrue > 0 {
		s += fmt.Sprintf("; %d declared as gone with a store, %d numbers so without being so", t.Declared, t.Untrue)
	}
	return s
}

// Verdict is what a comparison found.
type Verdict struct {
	Tally
	Agents   map[string]*Tally // the same for each agent that sent or has something stored
	Findings []string          // the first of the faults, one a line
}

// String says everything in a few lines.
func (v *Verdict) String() string {
	return strings.Join(append([]string{v.Tally.String()}, v.Findings...), "\n  ")
}

// count counts one message of an agent.
func (v *Verdict) count(agent string, field func(*Tally) *int) {
	if v.Agents[agent] == nil {
		v.Agents[agent] = new(Tally)
	}
	*field(&v.Tally)++
	*field(v.Agents[agent])++
}

const maxFindings = 20

// find counts a fault and describes it.
func (v *Verdict) find(agent string, field func(*Tally) *int, format string, args ...any) {
	v.count(agent, field)
	if len(v.Findings) < maxFindings {
		v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
	}
}
