package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// IncidentKind says what happened to an agent's folder, its id or this store.
type IncidentKind uint8

// The kinds.
const (
	IncidentRolledBack  IncidentKind = 1 // folder and store had parted: the lane went on in a new epoch (rule 2)
	IncidentRelabelled  IncidentKind = 2 // the agent's memory had gone back: numbers may be stored twice (rule 2)
	IncidentDuplicate   IncidentKind = 3 // two processes that are both alive use the agent's id (rule 15)
	IncidentStoreBehind IncidentKind = 4 // the store did not have what it had acked: it was set back (rule 3)
	IncidentOtherStore  IncidentKind = 5 // the agent came from another store, which has what is named here (rule 4)
	IncidentNewFolder   IncidentKind = 6 // the agent began anew with an empty folder
	IncidentCameBack    IncidentKind = 7 // the agent had been forgotten, and is heard of again
)

var incidentNames = map[IncidentKind]string{
	IncidentRolledBack: "rolled-back", IncidentRelabelled: "relabelled", IncidentDuplicate: "duplicate-identity",
	IncidentStoreBehind: "store-behind", IncidentOtherStore: "other-store", IncidentNewFolder: "new-folder", IncidentCameBack: "came-back",
}

// IncidentKinds returns all kinds, ascending. The caller owns the result.
func IncidentKinds() []IncidentKind { return slices.Sorted(maps.Keys(incidentNames)) }

// String returns the kind's name.
func (k IncidentKind) String() string {
	if s, ok := incidentNames[k]; ok {
		return s
	}
	return fmt.Sprintf("incident-%d", uint8(k))
}

// MarshalText returns the kind's name.
func (k IncidentKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (k *IncidentKind) UnmarshalText(b []byte) error {
	for n, s := range incidentNames {
		if s == string(b) {
			*k = n
			return nil
		}
	}
	return fmt.Errorf("unknown kind of incident %.40q", b)
}

// Incident is something in an agent's history that an operator may want to know:
// it explains forks, declarations and numbers that may be doubled. Those of one
// cause that follow one another are one.
type Incident struct {
	Kind  IncidentKind `json:"kind"`
	First time.Time    `json:"first"` // when it was noticed
	Last  time.Time    `json:"last"`  // and the last time, if it came again
	Count uint64       `json:"count"` // how often

	Lane   wire.Lane  `json:"lane,omitempty"`   // "" if it is about the agent
	Epoch  wire.Epoch `json:"epoch,omitzero"`   // of the stream that goes on
	Origin wire.Epoch `json:"origin,omitzero"`  // rolled-back: of the stream it was forked from, zero if that is not known
	From   wire.Seq   `json:"from,omitempty"`   // first number concerned; rolled-back: the first that goes on in the new epoch
	To     wire.Seq   `json:"to,omitempty"`     // last number concerned, 0 if there is none
	Detail string     `json:"detail,omitempty"` // duplicate-identity: the instances; other-store: the store's id; came-back: who had forgotten it
}

// MaxIncidents is how many incidents are kept of an agent: the newest.
const MaxIncidents = 64

// episode is how long after an incident the same counts as its repetition.
const episode = 24 * time.Hour

// Incidents returns the newest incidents, oldest first, and how many there have
// been in all, each repetition counted once. The slice is the caller's.
func (a *Agent) Incidents() (list []Incident, noted uint64) {
	return slices.Clone(a.incidents), a.noted
}

// incident notes one. One that goes on from the newest of its kind and stream is
// merged with it.
func (a *Agent) incident(n Incident) {
	a.noted++
	n.Last, n.Count = n.First, 1
	list := slices.Clone(a.incidents) // clones share it
	for i := len(list) - 1; i >= 0; i-- {
		if o := &list[i]; o.Kind == n.Kind && o.Lane == n.Lane && o.Epoch == n.Epoch {
			if o.joins(&n) {
				a.incidents = list
				return
			}
			break
		}
	}
	list = append(list, n)
	a.incidents = list[max(0, len(list)-MaxIncidents):]
}

// joins merges n into o if it is of the same cause.
func (o *Incident) joins(n *Incident) bool {
	switch n.Kind {
	case IncidentRolledBack, IncidentNewFolder, IncidentCameBack:
		return false
	case IncidentRelabelled, IncidentOtherStore:
		if o.Detail != n.Detail || n.From > o.To+1 {
			return false
		}
	default:
		if n.First.Sub(o.Last) > episode {
			return false
		}
	}
	if o.From == 0 || n.From > 0 && n.From < o.From {
		o.From = n.From
	}
	o.To = max(o.To, n.To)
	if n.First.After(o.Last) {
		o.Last = n.First
	}
	o.Detail = n.Detail
	o.Count++
	return true
}

// maxFenced is how many instances are remembered that were fenced.
const maxFenced = 8

// replaced notes that an instance takes the agent's place. One that was fenced
// and comes back is alive beside the other.
func (a *Agent) replaced(by wire.Instance, now time.Time) {
	old := a.instance
	if old == by || old.IsZero() {
		return
	}
	i := slices.Index(a.fenced, by)
	a.fenced = slices.Clone(a.fenced)
	if i >= 0 {
		a.fenced = slices.Delete(a.fenced, i, i+1)
		a.incident(Incident{Kind: IncidentDuplicate, First: now, Detail: fmt.Sprintf("instances %s and %s", old, by)})
	}
	a.fenced = append(a.fenced, old)
	a.fenced = a.fenced[max(0, len(a.fenced)-maxFenced):]
}

// Behind is a stream of which an agent has higher acks than the store has
// numbers.
type Behind struct {
	Lane  wire.Lane
	Epoch wire.Epoch // the store's
	W     wire.Seq   // the store has it up to here
	Acked wire.Seq   // and some store has acked it up to here
}

// BehindOf returns what a hello's stream and its match say of this store: it is
// behind the agent if it continues the agent's history and ends below an ack.
func BehindOf(told *wire.StreamState, m *wire.Match) (b Behind, ok bool) {
	return Behind{told.Lane, m.Epoch, m.W, told.Acked}, m.Found && m.Common == m.W && told.Acked > m.W
}

// forked notes where stream s, which was created for the live session, came from.
func (a *Agent) forked(s *Stream) {
	if s.Base == 0 {
		return
	}
	n := Incident{Kind: IncidentRolledBack, First: a.seen, Lane: s.Lane, Epoch: s.Epoch, From: s.Base + 1}
	if s.Next > s.Base+1 {
		n.To = s.Next - 1
	}
	best := wire.Seq(0)
	for _, o := range a.streams {
		if o != s && o.W > best && o.has(s.Lane, s.History.At(s.Base), s.Base) {
			best, n.Origin = o.W, o.Epoch
		}
	}
	a.incident(n)
}

// begunAnew notes the lanes of which the live session, which has opened all that
// it told of, has nothing but new streams, though the store knows older ones.
func (a *Agent) begunAnew() {
	for _, s := range a.streams {
		if s.Base > 0 || s.Born != a.live.Number {
			continue
		}
		older, goesOn := false, false
		for _, o := range a.streams {
			if o.Lane == s.Lane && o.Born != s.Born {
				older = true
				goesOn = goesOn || o.Opened == s.Opened
			}
		}
		if older && !goesOn {
			a.incident(Incident{Kind: IncidentNewFolder, First: a.seen, Lane: s.Lane, Epoch: s.Epoch})
		}
	}
}

// declared notes what an entry says of the agent's or the store's history.
func (a *Agent) declared(e *Settled) {
	n := Incident{First: e.Time, Lane: e.Lane, Epoch: e.Epoch, From: e.From, To: e.To}
	if e.Doubled {
		n.Kind = IncidentRelabelled
		a.incident(n)
	}
	switch e.Reason {
	case wire.ReasonLostAtStore:
		n.Kind = IncidentStoreBehind
		a.incident(n)
	case wire.ReasonStoredIn:
		n.Kind, n.Detail = IncidentOtherStore, e.Detail
		a.incident(n)
	}
}

// What says in a sentence what happened.
func (k IncidentKind) What() string {
	switch k {
	case IncidentRolledBack:
		return "rolled back: the agent's folder and the store had parted, and the lane went on in a new epoch"
	case IncidentRelabelled:
		return "the agent's memory had gone back, as a snapshot of a running machine does: these numbers may be stored twice"
	case IncidentDuplicate:
		return "duplicate identity: two processes that are both alive use this agent's id"
	case IncidentStoreBehind:
		return "the store is behind this agent: it was set back to before what it had acked"
	case IncidentOtherStore:
		return "the agent came from another store, which has the numbers up to here"
	case IncidentNewFolder:
		return "the agent began anew with an empty folder"
	case IncidentCameBack:
		return "the agent had been forgotten, and is back: it goes on where the store's streams of it end"
	}
	return k.String()
}

// Next says what an operator does next.
func (k IncidentKind) Next() string {
	switch k {
	case IncidentRolledBack:
		return "nothing is lost or doubled; find out why: a folder restored from an older copy, or a cloned image that needs an id and a folder of its own"
	case IncidentRelabelled:
		return "whoever reads these numbers must expect doubles; do not set back the memory of a running machine, stop its agent first"
	case IncidentDuplicate:
		return "find the clone (collector agents shows host and address of the one that is connected); stop it, give it a folder and an id of its own"
	case IncidentStoreBehind:
		return "was the collector restored from a backup? Take what audit calls lost-at-store from the newer copy if there is one, then accept it: collector audit close"
	case IncidentOtherStore:
		return "nothing, if this store has taken the other's place (--replaces); keep the other's journal, it has these numbers"
	case IncidentNewFolder:
		return "was the folder lost or deleted, or does another machine use this id? What it had not delivered is in collector audit; accept it there"
	case IncidentCameBack:
		return "if it was enrolled again on purpose: nothing. Else find out who gave it a token, and revoke it: collector agents revoke"
	}
	return "look into docs/OPERATIONS.md"
}
