package journal

import (
	"fmt"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// tally counts one stream's records.
type tally struct {
	agent  wire.AgentID
	stream collector.Stream
	base   wire.Seq
	w      wire.Seq // the highest number that is known to have been settled
	read   numbers  // settled by a record that was read
	gaps   []gap    // where numbers were seen to be missing
	open   *Range   // tombstones that the next one may follow

	closed, stored, removed, mayDouble, doubled, lost, missing, unexplained uint64
	tombstoned                                                              map[wire.Reason]uint64
}

// gap is a range of numbers that were settled by a record which was not where it
// should be. A later record may settle them: an agent sends again what it has.
type gap struct {
	from, to wire.Seq
	at       place64
}

// lineage names an incarnation.
type lineage struct {
	agent wire.AgentID
	lane  wire.Lane
	inc   wire.Incarnation
}

// tally returns the count of a stream, which begins behind base if it is new.
func (a *auditor) tally(id wire.AgentID, s collector.Stream, base wire.Seq) *tally {
	for _, t := range a.tallies[id] {
		if t.stream == s {
			return t
		}
	}
	t := &tally{agent: id, stream: s, base: base, w: base, tombstoned: map[wire.Reason]uint64{}}
	a.tallies[id] = append(a.tallies[id], t)
	a.tags[tagOf(id, s)] = t
	return t
}

// gap notes that the numbers up to to were settled, and that the records that did
// it are not where they should be.
func (a *auditor) gap(t *tally, to wire.Seq, at place64) {
	t.gaps = append(t.gaps, gap{t.w + 1, to, at})
	t.w = to
}

func (a *auditor) line(t *tally, inc wire.Incarnation) *numbers {
	l := lineage{t.agent, t.stream.Lane, inc}
	s := a.settled[l]
	if s == nil {
		s = &numbers{}
		a.settled[l] = s
	}
	return s
}

func (a *auditor) entry(v *settled, at place64) {
	e := &v.entry
	t := a.tally(v.id, v.stream, e.From-1)
	if e.From > t.w+1 {
		a.gap(t, e.From-1, at)
	}
	n := uint64(e.To - e.From + 1)
	if e.IsTombstone() {
		t.tombstoned[e.Reason] += n
		a.tombstone(t, v)
	} else {
		t.stored += n
	}
	if e.Doubled {
		t.mayDouble += n
	}
	f := Finding{Agent: t.agent, Lane: t.stream.Lane, Epoch: t.stream.Epoch, Incarnation: e.Incarnation, File: at.file, Offset: at.off}
	for _, o := range t.read.within(e.From, e.To) {
		f.Kind, f.From, f.To, f.What = KindDoubled, o.from, o.to, "these numbers were settled before in this stream"
		t.doubled += uint64(o.to - o.from + 1)
		a.report.find(f)
	}
	t.read.add(e.From, e.To, t)
	t.w = max(t.w, e.To)
	twice := a.line(t, e.Incarnation).add(e.From, e.To, t)
	for _, o := range twice {
		if e.Doubled {
			break
		}
		f.Kind, f.From, f.To = KindDoubled, o.from, o.to
		f.What = fmt.Sprintf("these numbers of one incarnation were settled before in epoch %s", o.owner.stream.Epoch)
		t.doubled += uint64(o.to - o.from + 1)
		a.report.find(f)
	}
	if e.IsTombstone() && e.Reason == wire.ReasonLostAtStore {
		t.lost += n
		open := []ledger.Accepted{{Claim: ledger.ClaimLost, Lane: t.stream.Lane, Epoch: t.stream.Epoch, From: e.From, To: e.To}}
		if st := a.accepted[t.agent]; st != nil {
			open = st.NotClosed(open[0])
		}
		t.closed += n
		for _, o := range open {
			t.closed -= uint64(o.To - o.From + 1)
			f.Kind, f.From, f.To, f.What = KindLost, o.From, o.To, "this store acked these numbers once and lost them; the agent did not have them any more"
			a.report.find(f)
		}
	}
}
