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
	ids := slices.Sorted(maps.Keys(a.tallies))
	for _, id := range ids {
		for _, t := range a.tallies[id] {
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
				MayDouble: t.mayDouble, Unexplained: t.missing + t.unexplained, Doubled: t.doubled, LostAtStore: t.lost}
			if st := a.stream(t); st != nil {
				r.Pending = a.state[id].Pending(st)
			}
			a.report.Streams = append(a.report.Streams, r)
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
			t.missing += uint64(o.to - o.from + 1)
			a.report.find(Finding{Kind: KindMissing, Agent: t.agent, Lane: t.stream.Lane, Epoch: t.stream.Epoch, From: o.from, To: o.to, File: g.at.file, Offset: g.at.off,
				What: "these numbers were settled, and their record is not there"})
			for n := o.from; st != nil && n <= o.to; n = st.History.End(n, o.to) + 1 {
				a.line(t, st.History.At(n)).add(n, st.History.End(n, o.to), t)
			}
		}
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
			t.missing += uint64(o.to - o.from + 1)
			a.report.find(Finding{Kind: KindMissing, Agent: t.agent, Lane: t.stream.Lane, Epoch: t.stream.Epoch, Incarnation: inc, From: o.from, To: o.to,
				What: "the stream goes on from these numbers, and no stream has them"})
		}
		n = end + 1
	}
}

// unexplained reports what was announced and is nowhere.
func (a *auditor) unexplained(id wire.AgentID, st *ledger.Agent) {
	for _, r := range st.Unexplained() {
		f := Finding{Kind: KindUnexplained, Agent: id, Lane: r.Lane, Incarnation: r.Incarnation, From: r.From, To: r.To,
			What: "these numbers were announced and are settled nowhere, and the agent's last session does not have them: its folder was lost or put back"}
		if t := a.told(id, r); t != nil {
			t.unexplained += uint64(r.To - r.From + 1)
			f.Epoch = t.stream.Epoch
		}
		a.report.find(f)
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
