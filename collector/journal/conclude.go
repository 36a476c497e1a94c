package journal

import (
	"cmp"
	"maps"
	"slices"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// conclude checks what only the end shows, and writes the ledger.
func (a *auditor) conclude() {
	if a.accepted != nil {
		a.accepted = a.state // which was compared with the snapshots on the way
	}
	ids := slices.Sorted(maps.Keys(a.tallies))
	for _, id := range ids {
		for _, t := range a.tallies[id] {
			a.flush(t)
			a.missing(t)
		}
		for _, t := range a.tallies[id] {
			a.inherited(t)
		}
		if st := a.state[id]; st != nil {
			a.unexplained(id, st)
		}
		slices.SortStableFunc(a.tallies[id], func(x, y *tally) int { return cmp.Compare(x.stream.Lane, y.stream.Lane) })
		for _, t := range a.tallies[id] {
			r := StreamReport{Agent: id, Lane: t.stream.Lane, Epoch: t.stream.Epoch, Base: t.base, W: t.w, Stored: t.stored, Removed: t.removed, Tombstoned: t.tombstoned,
				MayDouble: t.mayDouble, Unexplained: t.missing + t.unexplained, Doubled: t.doubled, LostAtStore: t.lost, Closed: t.closed}
			if st := a.stream(t); st != nil {
				r.Pending = a.state[id].Pending(st)
				if r.Pending > 0 {
					a.explain(Range{Agent: id, Lane: st.Lane, Epoch: st.Epoch, From: st.W + 1, To: st.Next - 1, Why: WhyPending})
				}
			}
			a.report.Streams = append(a.report.Streams, r)
		}
	}
	for _, id := range a.state.ids() {
		for _, c := range a.state[id].Closings() {
			a.report.Closings = append(a.report.Closings, AgentClosing{id, c})
		}
		if f := a.state[id].Forgotten(); f != nil {
			a.report.Forgotten = append(a.report.Forgotten, AgentForgotten{id, *f})
		}
		list, _ := a.state[id].Incidents()
		for _, n := range list {
			a.report.Incidents = append(a.report.Incidents, AgentIncident{id, n})
		}
	}
	a.report.OK = len(a.report.Findings) == 0
}

// missing reports the gaps of a stream that no later record has filled. For the
// streams that were forked from it they count as settled: each is reported once.
func (a *auditor) missing(t *tally) {
	st := a.stream(t)
	for _, g := range t.gaps {
		for _, o := range t.read.without(g.from, g.to) {
			a.gone(t, Finding{From: o.from, To: o.to, File: g.at.file, Offset: g.at.off, What: "these numbers were settled, and their record is not there"})
			for n := o.from; st != nil && n <= o.to; n = st.History.End(n, o.to) + 1 {
				a.line(t, st.History.At(n)).add(n, st.History.End(n, o.to), t)
			}
		}
	}
}

// gone reports numbers of t that were settled and have no record, but for those
// that an operator has accepted.
func (a *auditor) gone(t *tally, f Finding) {
	f.Kind, f.Agent, f.Lane, f.Epoch = KindMissing, t.agent, t.stream.Lane, t.stream.Epoch
	r := Range{Agent: f.Agent, Lane: f.Lane, Epoch: f.Epoch, Incarnation: f.Incarnation, From: f.From, To: f.To, Why: WhyMissing}
	t.closed += r.Numbers()
	for _, o := range a.parts(t.agent, ledger.Accepted{Claim: ledger.ClaimMissing, Lane: f.Lane, Epoch: f.Epoch, From: f.From, To: f.To}, r) {
		n := uint64(o.To - o.From + 1)
		t.missing, t.closed = t.missing+n, t.closed-n
		f.From, f.To = o.From, o.To
		a.report.find(f)
	}
}

func (a *auditor) stream(t *tally) *ledger.Stream {
	if st := a.state[t.agent]; st != nil {
		return st.Stream(t.stream.Lane, t.stream.Epoch)
	}
	return nil
}

// inherited checks that what a fork goes on from is settled in another stream.
func (a *auditor) inherited(t *tally) {
	st := a.stream(t)
	if st == nil || len(st.History) == 0 {
		return
	}
	for n := st.History[0].First; n <= t.base; {
		inc, end := st.History.At(n), st.History.End(n, t.base)
		for _, o := range a.line(t, inc).without(n, end) {
			a.gone(t, Finding{Incarnation: inc, From: o.from, To: o.to, What: "the stream goes on from these numbers, and no stream has them"})
		}
		n = end + 1
	}
}

// unexplained reports what was announced and is nowhere, but for what an operator
// has accepted.
func (a *auditor) unexplained(id wire.AgentID, st *ledger.Agent) {
	explain := func(lane wire.Lane, inc wire.Incarnation, from, to wire.Seq, c *ledger.Closing) (t *tally) {
		r := Range{Agent: id, Lane: lane, Incarnation: inc, From: from, To: to, Why: WhyUnexplained, Taken: st.Seen(), TakenLast: st.Seen(), Closed: closedBy(c)}
		if t = a.told(id, ledger.Run{Lane: lane, Incarnation: inc, From: from, To: to}); t != nil {
			r.Epoch = t.stream.Epoch
		}
		a.explain(r)
		return t
	}
	for _, r := range st.Unexplained() {
		f := Finding{Kind: KindUnexplained, Agent: id, Lane: r.Lane, Incarnation: r.Incarnation, From: r.From, To: r.To,
			What: "these numbers were announced and are settled nowhere, and the agent's last session does not have them: its folder was lost or put back"}
		if t := explain(r.Lane, r.Incarnation, r.From, r.To, nil); t != nil {
			t.unexplained += uint64(r.To - r.From + 1)
			f.Epoch = t.stream.Epoch
		}
		a.report.find(f)
	}
	for _, r := range st.Closed() {
		if t := explain(r.Lane, r.Incarnation, r.From, r.To, st.Closing(r, r.From)); t != nil {
			t.closed += uint64(r.To - r.From + 1)
		}
	}
}

// told returns the stream that an announced run belongs to, as far as boundaries
// still tell: the newest that has its incarnation, else the lane's newest.
func (a *auditor) told(id wire.AgentID, r ledger.Run) (best *tally) {
	has := func(b wire.Boundary) bool { return b.Incarnation == r.Incarnation }
	sure := false
	for _, t := range a.tallies[id] {
		if s := a.stream(t); s != nil && s.Lane == r.Lane {
			if here := slices.ContainsFunc(s.History, has) || slices.ContainsFunc(s.Ahead, has); here || !sure {
				best, sure = t, here
			}
		}
	}
	return best
}
