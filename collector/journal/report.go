package journal

import (
	"cmp"
	"slices"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// Report is what an audit found. As JSON its fields are named as tagged here.
type Report struct {
	OK             bool           `json:"ok"` // nothing is unexplained, doubled, lost or damaged
	Store          wire.StoreID   `json:"store"`
	Segments       int            `json:"segments"`                  // files read
	Records        uint64         `json:"records"`                   // read and verified
	Bytes          int64          `json:"bytes"`                     // of them
	RemovedRecords uint64         `json:"removed_records,omitempty"` // by retention, the journal's oldest
	LostRecords    uint64         `json:"lost_records,omitempty"`    // that were damaged and which repair has given up
	Streams        []StreamReport `json:"streams"`                   // by agent, lane and creation
	Findings       []Finding      `json:"findings"`                  // what is wrong; empty if OK
	More           int            `json:"more,omitempty"`

	Closings  []AgentClosing   `json:"closings"`  // what operators have accepted
	Incidents []AgentIncident  `json:"incidents"` // what happened to agents' folders and ids: of each agent the newest
	Forgotten []AgentForgotten `json:"forgotten"` // agents that an operator has given up and that have not come back
}

// AgentClosing is a closing and whose numbers it is about.
type AgentClosing struct {
	Agent wire.AgentID `json:"agent"`
	ledger.Closing
}

// AgentIncident is an incident and whose it is.
type AgentIncident struct {
	Agent wire.AgentID `json:"agent"`
	ledger.Incident
}

// AgentForgotten says who has given an agent up. What is stored of it stands with
// its streams.
type AgentForgotten struct {
	Agent wire.AgentID `json:"agent"`
	ledger.Forgetting
}

// StreamReport is the ledger of one stream, counted from its records: Base+1 to
// W is stored, tombstoned, removed or missing; above W are the pending numbers.
type StreamReport struct {
	Agent       wire.AgentID           `json:"agent"`
	Lane        wire.Lane              `json:"lane"`
	Epoch       wire.Epoch             `json:"epoch"`
	Base        wire.Seq               `json:"base"`                           // numbers up to here belong to the stream it was forked from
	W           wire.Seq               `json:"w"`                              // all up to here is accounted for
	Stored      uint64                 `json:"stored"`                         // numbers that are stored
	Tombstoned  map[wire.Reason]uint64 `json:"tombstoned,omitempty"`           // numbers that were dropped or declared, by reason
	Removed     uint64                 `json:"removed_by_retention,omitempty"` // numbers that were stored or tombstoned in segments that retention has removed
	MayDouble   uint64                 `json:"may_be_doubled"`                 // numbers that the agent has marked so (rule 2)
	Pending     uint64                 `json:"pending"`                        // announced and still with the agent
	Unexplained uint64                 `json:"unexplained"`                    // settled and their record is missing, or announced and nobody has them
	Doubled     uint64                 `json:"doubled"`                        // settled more than once
	LostAtStore uint64                 `json:"lost_at_store"`                  // declared so: this store once had acked them
	Closed      uint64                 `json:"closed,omitempty"`               // lost, missing or unexplained, and accepted by an operator
}

// Kind says what a finding is about.
type Kind string

// The kinds. Each makes a report not OK.
const (
	KindMissing     Kind = "missing"       // numbers were settled, and the records that settled them are not there
	KindUnexplained Kind = "unexplained"   // numbers were announced, are settled in no stream, and the agent does not have them any more
	KindDoubled     Kind = "doubled"       // numbers were settled more than once
	KindLost        Kind = "lost-at-store" // the agent declares that this store acked numbers and has lost them
	KindDamaged     Kind = "damaged"       // a part of a file cannot be read, or records are missing from it
	KindSnapshot    Kind = "snapshot"      // a segment's snapshot differs from the records before it
)

// Finding is one thing that is wrong: what, of which numbers, and where.
type Finding struct {
	Kind        Kind             `json:"kind"`
	Agent       wire.AgentID     `json:"agent,omitempty"`
	Lane        wire.Lane        `json:"lane,omitempty"`
	Epoch       wire.Epoch       `json:"epoch,omitzero"`
	Incarnation wire.Incarnation `json:"incarnation,omitzero"`
	From        wire.Seq         `json:"from,omitempty"` // first number, 0 if it is not about numbers
	To          wire.Seq         `json:"to,omitempty"`   // last number
	File        string           `json:"file,omitempty"` // in the journal's folder
	Offset      int64            `json:"offset"`         // in the file
	What        string           `json:"what"`           // a sentence for people
}

// maxFindings bounds a report; what is beyond is counted in More.
const maxFindings = 10000

func (r *Report) find(f Finding) {
	if len(r.Findings) == maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

// numbers is a set of numbers as ranges, with who settled them.
type numbers []owned

type owned struct {
	from, to wire.Seq
	owner    *tally
}

// add adds a range and returns what of it was in the set under another owner.
func (s *numbers) add(from, to wire.Seq, owner *tally) (twice []owned) {
	list := *s
	i, _ := slices.BinarySearchFunc(list, from, func(o owned, n wire.Seq) int { return cmp.Compare(o.to, n) })
	put := func(to wire.Seq) { // what is free up to to, before list[i]
		if i > 0 && list[i-1].owner == owner && list[i-1].to+1 == from {
			list[i-1].to = to
			return
		}
		list = slices.Insert(list, i, owned{from, to, owner})
		i++
	}
	for ; i < len(list) && list[i].from <= to; i++ {
		if o := list[i]; o.owner != owner {
			twice = append(twice, owned{max(from, o.from), min(to, o.to), o.owner})
		}
		if list[i].from > from {
			put(list[i].from - 1)
		}
		if from = list[i].to + 1; from > to {
			break
		}
	}
	if from <= to {
		put(to)
	}
	*s = list
	return twice
}

// within returns the parts of a range that are in the set.
func (s numbers) within(from, to wire.Seq) (out []owned) {
	i, _ := slices.BinarySearchFunc(s, from, func(o owned, n wire.Seq) int { return cmp.Compare(o.to, n) })
	for ; i < len(s) && s[i].from <= to; i++ {
		out = append(out, owned{max(from, s[i].from), min(to, s[i].to), s[i].owner})
	}
	return out
}

// without returns the parts of a range that are not in the set.
func (s numbers) without(from, to wire.Seq) (out []owned) {
	for _, o := range s {
		if o.to < from {
			continue
		}
		if o.from > to {
			break
		}
		if o.from > from {
			out = append(out, owned{from: from, to: o.from - 1})
		}
		from = o.to + 1
	}
	if from <= to {
		out = append(out, owned{from: from, to: to})
	}
	return out
}
