package ledger

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Agent is what a store knows of one agent. The zero value knows nothing. It may
// be read concurrently, but not while it is changed.
type Agent struct {
	live     wire.Session
	instance wire.Instance
	told     int    // streams in the live session's hello
	resumed  int    // streams that the live session has opened
	complete uint64 // the last session that opened all that its hello told of

	software string
	host     wire.Host
	address  string
	seen     time.Time
	parting  *Parting

	streams []*Stream // in order of creation
	open    map[line]span

	closings  []Closing       // what operators have accepted
	fenced    []wire.Instance // the last ones before instance
	incidents []Incident      // the newest
	noted     uint64          // how many there have been
	forgotten *Forgetting     // an operator has given the agent up

	// Clones share streams and open; what belongs to an older generation is
	// copied before it is changed.
	gen     uint64
	openGen uint64
}

// Stream is what a store knows of one stream. Its slices and maps are shared and
// must not be changed.
type Stream struct {
	Lane    wire.Lane
	Epoch   wire.Epoch
	Base    wire.Seq     // numbers up to here belong to the streams it was forked from
	W       wire.Seq     // the watermark: all numbers up to here are settled
	Next    wire.Seq     // numbers below it have been announced; above W
	History wire.History // of the numbers up to W
	Ahead   wire.History // boundaries above W, as the last resume had them
	Opened  uint64       // the last session that resumed it
	Born    uint64       // the session that created it; 0: not known

	Stored     uint64                 // numbers stored
	Doubled    uint64                 // numbers settled that were marked "may be doubled"
	Tombstoned map[wire.Reason]uint64 // numbers dropped or declared, by reason

	moved  bool               // an import has come into the lane since the last resume; not kept, as links are not
	ends   []wire.Fingerprint // of the last number of each boundary of History but the newest
	fpW    wire.Fingerprint   // of number W
	fpBase wire.Fingerprint   // of number Base
	gen    uint64
}

// Parting is how an agent's last session ended.
type Parting struct {
	Time    time.Time // when the agent was last heard
	Goodbye bool      // it said so
	Reason  string
}

// line names an incarnation of a lane.
type line struct {
	lane wire.Lane
	inc  wire.Incarnation
}

// span is what was announced of an incarnation.
type span struct{ first, last wire.Seq }

// Clone returns a copy that can be changed without changing a. The copy is cheap:
// it shares what neither changes. Of all clones of a, and a itself, only one may
// be changed from then on; the others stay good for reading or are dropped.
func (a *Agent) Clone() *Agent {
	c := *a
	c.streams = slices.Clone(a.streams)
	c.gen++
	return &c
}

// edit returns stream i for a change.
func (a *Agent) edit(i int) *Stream {
	s := a.streams[i]
	if s.gen != a.gen {
		c := *s
		c.gen = a.gen
		s, a.streams[i] = &c, &c
	}
	return s
}

// editOpen returns the open announcements for a change.
func (a *Agent) editOpen() map[line]span {
	if a.open == nil || a.openGen != a.gen {
		a.open, a.openGen = maps.Clone(a.open), a.gen
		if a.open == nil {
			a.open = map[line]span{}
		}
	}
	return a.open
}

func (a *Agent) index(lane wire.Lane, epoch wire.Epoch) int {
	return slices.IndexFunc(a.streams, func(s *Stream) bool { return s.Epoch == epoch && s.Lane == lane })
}

// Live reports whether s is the agent's live session.
func (a *Agent) Live(s wire.Session) bool { return s.Number != 0 && s == a.live }

// Session returns the live session; its number is 0 if none was ever granted.
func (a *Agent) Session() wire.Session { return a.live }

// Instance returns which instance of the agent the live session belongs to.
func (a *Agent) Instance() wire.Instance { return a.instance }

// Software returns what the last hello said of the agent's program.
func (a *Agent) Software() string { return a.software }

// Host returns what the last hello said of the agent's machine.
func (a *Agent) Host() wire.Host { return a.host }

// Address returns where the last hello came from.
func (a *Agent) Address() string { return a.address }

// Seen returns the time of the last hello, entry or parting.
func (a *Agent) Seen() time.Time { return a.seen }

// Parting returns how the last session ended, nil if that is not known. It must
// not be changed.
func (a *Agent) Parting() *Parting { return a.parting }

// Len returns how many streams there are.
func (a *Agent) Len() int { return len(a.streams) }

// Streams returns the agent's streams in order of their creation. The slice is
// the caller's, the streams must not be changed.
func (a *Agent) Streams() []*Stream { return slices.Clone(a.streams) }

// Stream returns one stream, nil if it is not known. It must not be changed.
func (a *Agent) Stream(lane wire.Lane, epoch wire.Epoch) *Stream {
	if i := a.index(lane, epoch); i >= 0 {
		return a.streams[i]
	}
	return nil
}

// Opened reports whether the live session has resumed a stream.
func (a *Agent) Opened(lane wire.Lane, epoch wire.Epoch) bool {
	s := a.Stream(lane, epoch)
	return s != nil && s.Opened == a.live.Number && s.Opened != 0
}

// Current reports whether s is part of what the agent still has, as far as the
// store knows: the agent's last session resumed it, or the last session that got
// so far as to resume all it had told of.
func (a *Agent) Current(s *Stream) bool { return s.Opened >= a.complete }

// Pending returns how many numbers of s were announced, are not settled yet, and
// are in the agent's hands.
func (a *Agent) Pending(s *Stream) uint64 {
	if !a.Current(s) {
		return 0
	}
	return uint64(s.Next - 1 - s.W)
}

// Backlog returns how many numbers were announced and are not settled, pending
// or unexplained. Those that an operator has accepted do not count.
func (a *Agent) Backlog() (n uint64) {
	for l, o := range a.open {
		n += uint64(o.last - max(o.first-1, a.settled(l, o.first)))
	}
	if len(a.closings) > 0 {
		for _, r := range a.lost() {
			n -= uint64(r.To - r.From + 1)
		}
		for _, r := range a.Unexplained() {
			n += uint64(r.To - r.From + 1)
		}
	}
	return n
}

// settled returns the last settled number of an incarnation that begins at first,
// 0 if there is none. Two streams with equal incarnations at a number have equal
// numbers below it, so the stream that goes furthest has them all.
func (a *Agent) settled(l line, first wire.Seq) (last wire.Seq) {
	for _, s := range a.streams {
		if s.Lane == l.lane && s.W >= first && s.History.At(first) == l.inc {
			last = max(last, s.History.End(first, s.W))
		}
	}
	return last
}

// holds reports whether number n of an incarnation is settled in any stream.
func (a *Agent) holds(l line, n wire.Seq) bool {
	return slices.ContainsFunc(a.streams, func(s *Stream) bool {
		return s.Lane == l.lane && s.W >= n && s.History.At(n) == l.inc
	})
}

// Run is a run of numbers of one incarnation.
type Run struct {
	Lane        wire.Lane
	Incarnation wire.Incarnation
	From, To    wire.Seq
}

// ahead returns the announced runs above W.
func (s *Stream) ahead() (runs []Run) {
	for n := s.W + 1; n < s.Next; {
		r := Run{s.Lane, s.Ahead.At(n), n, s.Ahead.End(n, s.Next-1)}
		if r.Incarnation.IsZero() { // W's incarnation goes on
			r.Incarnation = s.History.At(s.W)
		}
		runs = append(runs, r)
		n = r.To + 1
	}
	return runs
}

// Unexplained returns what was announced under an incarnation, is settled in no
// stream, is not pending either (the agent's folder was lost or put back to an
// older state), and was not accepted by an operator (rule 11). Runs are in order
// of lane, incarnation and number.
func (a *Agent) Unexplained() (out []Run) {
	for _, r := range a.lost() {
		for _, o := range a.NotClosed(Accepted{Claim: ClaimUnexplained, Lane: r.Lane, Incarnation: r.Incarnation, From: r.From, To: r.To}) {
			out = append(out, Run{r.Lane, r.Incarnation, o.From, o.To})
		}
	}
	return out
}

// Closed returns what would be unexplained if operators had not accepted it.
func (a *Agent) Closed() (out []Accepted) {
	for _, r := range a.lost() {
		for i := range a.closings {
			for _, c := range a.closings[i].Ranges {
				if c.Claim == ClaimUnexplained && c.Lane == r.Lane && c.Incarnation == r.Incarnation && c.From <= r.To && c.To >= r.From {
					c.From, c.To = max(c.From, r.From), min(c.To, r.To)
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// lost is Unexplained and what of it operators have accepted.
func (a *Agent) lost() (out []Run) {
	var pending []Run
	for _, s := range a.streams {
		if a.Current(s) {
			pending = append(pending, s.ahead()...)
		}
	}
	slices.SortFunc(pending, func(x, y Run) int { return cmp.Compare(x.From, y.From) })
	for _, l := range a.openLines() {
		o := a.open[l]
		from := max(o.first, a.settled(l, o.first)+1)
		for _, p := range pending {
			if p.Lane != l.lane || p.Incarnation != l.inc || p.To < from || p.From > o.last {
				continue
			}
			if p.From > from {
				out = append(out, Run{l.lane, l.inc, from, p.From - 1})
			}
			from = p.To + 1
		}
		if from <= o.last {
			out = append(out, Run{l.lane, l.inc, from, o.last})
		}
	}
	return out
}

// openLines returns the keys of the open announcements in a fixed order.
func (a *Agent) openLines() []line {
	return slices.SortedFunc(maps.Keys(a.open), func(x, y line) int {
		return cmp.Or(cmp.Compare(x.lane, y.lane), slices.Compare(x.inc.ID[:], y.inc.ID[:]))
	})
}
