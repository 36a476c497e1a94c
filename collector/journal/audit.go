package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// Audit reads every record of every segment of the journal in a folder, checks
// every checksum, and proves for each stream that every number up to W is stored
// or tombstoned exactly once, and that every announced number is settled or
// pending (rule 11). It trusts no snapshot, index or counter; where one says more
// than the records, that is a finding. It changes nothing and may run beside a
// collector; then it sees what was synced when it began. Its memory depends on
// the streams, not on what they hold.
//
// A report that is not OK is no error; an error says why there is no report.
func Audit(ctx context.Context, dir string) (Report, error) { return Explain(ctx, dir, nil) }

// Explain is Audit that also says of all numbers that are not stored why: f is
// called with one range after another, those of a stream in order but for what
// only the end shows (missing, unexplained, pending). An error of f ends it and is
// returned. f may be nil.
func Explain(ctx context.Context, dir string, f func(Range) error) (Report, error) {
	r, err := OpenReader(dir)
	if err != nil {
		return Report{}, err
	}
	m, merr := readMark(dir) // once: beside a collector it moves on
	extents, removed, err := r.extentsAt(m, merr)
	if err != nil {
		return Report{}, fmt.Errorf("audit the journal in %s: %w", dir, err)
	}
	a := auditor{
		ctx: ctx, seed: seed(r.identity.Store), reader: r, removed: removed, state: agents{}, next: 1,
		tallies: map[wire.AgentID][]*tally{}, tags: map[uint64]*tally{}, settled: map[lineage]*numbers{},
		f:      f,
		report: Report{Store: r.identity.Store, Streams: []StreamReport{}, Findings: []Finding{}, Closings: []AgentClosing{}, Incidents: []AgentIncident{}, Forgotten: []AgentForgotten{}},
	}
	// What operators have accepted stands behind what it is about. It is taken from
	// the journal's memory, which is compared with the records below.
	if a.accepted, err = r.stateOf(ctx, extents); err != nil {
		a.accepted = nil
	}
	switch {
	case errors.Is(merr, errNoMark):
	case merr != nil:
		a.report.find(Finding{Kind: KindDamaged, File: markName, What: merr.Error()})
	default:
		a.mark = &m
	}
	if _, err := readRemoval(dir, r.identity.Store); err != nil {
		a.report.find(Finding{Kind: KindDamaged, File: removedName, What: err.Error()})
	}
	a.report.RemovedRecords = a.removed.index
	for i := range extents {
		limit := uint64(1<<64 - 1)
		if i+1 < len(extents) && extents[i+1].headErr == nil {
			limit = extents[i+1].head.first - 1
		} else if extents[i].above > 0 {
			limit = extents[i].above - 1
		} else if i+1 == len(extents) && a.mark != nil && m.boot == bootID() {
			limit = m.index
		}
		if err := a.extent(&extents[i], limit); err != nil {
			return Report{}, fmt.Errorf("audit the journal in %s: %w", dir, err)
		}
	}
	if a.mark != nil && a.next <= m.index {
		a.arrive(m.index+1, m.last, place64{markName, 0})
	}
	a.conclude()
	if a.err != nil {
		return Report{}, a.err
	}
	return a.report, nil
}

// auditor is one audit.
type auditor struct {
	ctx     context.Context
	seed    uint32
	reader  *Reader
	mark    *mark
	removed removal // by retention
	report  Report

	f        func(Range) error // nil: nothing is to be explained
	err      error             // of f
	accepted agents            // what the journal remembers: for what operators have accepted

	state   agents // the ledger, from the records alone as far as they can be read
	started bool   // a segment was read
	next    uint64 // index of the next record
	before  summary
	holes   bool // something was found damaged: what follows may differ from snapshots
	behind  bool // the last record was a hole

	tallies map[wire.AgentID][]*tally // in order of creation
	tags    map[uint64]*tally
	settled map[lineage]*numbers
}

// place64 is a place in a file of the folder.
type place64 struct {
	file string
	off  int64
}

func (a *auditor) extent(e *extent, limit uint64) error {
	name := filepath.Base(e.path)
	if e.missing && a.reader.removed(e) {
		return fmt.Errorf("%w: %s", ErrRemoved, name)
	}
	if e.headErr != nil {
		a.holes = true
		a.report.find(Finding{Kind: KindDamaged, File: name, What: fmt.Sprintf("the segment's head cannot be read: %v", e.headErr)})
	}
	if e.missing {
		return nil
	}
	f, err := openReading(e.path, true)
	if errors.Is(err, os.ErrNotExist) && a.reader.removed(e) {
		return fmt.Errorf("%w: %s", ErrRemoved, name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	a.report.Segments++
	if e.headErr == nil {
		a.begin(e, name)
	}
	s := newScanner(f, a.seed, e.records(), max(info.Size(), e.valid), 0)
	for s.next() {
		if err := cmp.Or(a.err, a.ctx.Err()); err != nil {
			return err
		}
		if s.bad != nil {
			if s.bad.off < e.valid && (e.headErr == nil || s.bad.off > 0) {
				a.holes = true
				a.report.find(Finding{Kind: KindDamaged, File: name, Offset: s.bad.off,
					What: fmt.Sprintf("%d bytes are no record: %v", min(s.bad.end, e.valid)-s.bad.off, s.bad.why)})
			}
			continue
		}
		if s.rec.index > limit {
			if s.rec.off < e.valid {
				a.report.find(Finding{Kind: KindDamaged, File: name, Offset: s.rec.off, What: fmt.Sprintf("record %d stands before its place", s.rec.index)})
			}
			continue // not synced, or void: the next segment has it
		}
		if s.rec.off >= e.valid && s.rec.index >= a.next && e.headErr == nil && (a.mark == nil || s.rec.index > a.mark.index) {
			continue
		}
		a.report.Records++
		a.report.Bytes += s.rec.end - s.rec.off
		a.record(&s.rec, place64{name, s.rec.off})
	}
	return s.err
}

// begin takes a segment's head: its snapshot must say what the records before it
// have said.
func (a *auditor) begin(e *extent, name string) {
	m, err := readSnapshot(e.path, &e.head)
	if err != nil {
		a.holes = true
		a.report.find(Finding{Kind: KindDamaged, File: name, Offset: headSize, What: err.Error()})
	}
	first := !a.started
	a.started = true
	kept := a.removed.index + 1 // the first that retention has left
	if first && e.head.first > kept {
		a.holes = true
		a.report.find(Finding{Kind: KindDamaged, File: name, What: fmt.Sprintf("records %d to %d are gone with the segments before it", kept, e.head.first-1)})
	}
	if first {
		a.next, a.before = e.head.first, e.head.before
	} else {
		a.arrive(e.head.first, e.head.before, place64{name, 0})
	}
	if err != nil {
		return
	}
	if first && kept > 1 && e.head.first == kept {
		a.adopt(m)
		return
	}
	for _, id := range m.ids() {
		a.compare(id, m[id], e.head.version, place64{name, 0})
	}
	for id := range a.state {
		if m[id] == nil {
			a.report.find(Finding{Kind: KindSnapshot, Agent: id, File: name, Offset: headSize, What: "the snapshot does not know the agent"})
			m[id] = a.state[id]
		}
	}
	a.state = m
}

// adopt takes what retention has left of the records that it has removed: the
// snapshot behind them.
func (a *auditor) adopt(m agents) {
	for _, id := range m.ids() {
		for _, st := range m[id].Streams() {
			t := a.tally(id, collector.Stream{Lane: st.Lane, Epoch: st.Epoch}, st.Base)
			t.w, t.removed = st.W, uint64(st.W-st.Base)
			for n := st.Base + 1; n <= st.W && len(st.History) > 0; {
				n = max(n, st.History[0].First) // older boundaries are not known any more
				end := st.History.End(n, st.W)
				a.line(t, st.History.At(n)).add(n, end, t)
				n = end + 1
			}
			if t.removed > 0 {
				a.explain(Range{Agent: id, Lane: st.Lane, Epoch: st.Epoch, From: st.Base + 1, To: st.W, Why: WhyRemoved})
			}
		}
	}
	a.state = m
}

// compare compares an agent's snapshot with its replayed state.
func (a *auditor) compare(id wire.AgentID, snap *ledger.Agent, version int, at place64) {
	for _, st := range snap.Streams() {
		t := a.tally(id, collector.Stream{Lane: st.Lane, Epoch: st.Epoch}, st.Base)
		if st.W > t.w {
			a.gap(t, st.W, at)
		} else if st.W < t.w {
			a.report.find(Finding{Kind: KindSnapshot, Agent: id, Lane: st.Lane, Epoch: st.Epoch, From: st.W + 1, To: t.w, File: at.file, Offset: headSize,
				What: fmt.Sprintf("the snapshot says W %d, the records before it go up to %d", st.W, t.w)})
		}
	}
	if a.holes {
		return
	}
	have := a.state[id]
	if have == nil {
		have = &ledger.Agent{}
	}
	if !have.Equal(snap, version) {
		a.report.find(Finding{Kind: KindSnapshot, Agent: id, File: at.file, Offset: headSize, What: "the snapshot differs from what the records before it say"})
	}
}

// arrive checks that a record is the next one, by its index and by what it says
// of the one before it.
func (a *auditor) arrive(index uint64, before summary, at place64) {
	if a.behind && index == a.next { // the last record in the hole is known
		if t := a.tags[before.tag]; t != nil && before.to > t.w {
			a.gap(t, before.to, at)
		}
	} else if index > a.next {
		a.holes = true
		f := Finding{Kind: KindDamaged, File: at.file, Offset: at.off, What: fmt.Sprintf("record %d is missing before this place", a.next)}
		if index-1 > a.next {
			f.What = fmt.Sprintf("records %d to %d are missing before this place", a.next, index-1)
		}
		if t := a.tags[before.tag]; t != nil && before.to > 0 {
			f.Agent, f.Lane, f.Epoch, f.From, f.To = t.agent, t.stream.Lane, t.stream.Epoch, before.from, before.to
			f.What += fmt.Sprintf("; the last of them held numbers %d to %d", before.from, before.to)
			if before.to > t.w {
				a.gap(t, before.to, at)
			}
		}
		a.report.find(f)
	} else if before != a.before {
		a.report.find(Finding{Kind: KindDamaged, File: at.file, Offset: at.off,
			What: fmt.Sprintf("record %d follows numbers %d to %d, and is made to follow %d to %d", index, a.before.from, a.before.to, before.from, before.to)})
	}
	a.next, a.before, a.behind = index, before, false
}

func (a *auditor) record(r *record, at place64) {
	if r.kind == kindHole && r.index+1 >= a.next {
		a.report.LostRecords += r.index + 1 - a.next
		a.holes = true
		a.next, a.before, a.behind = r.index+1, summary{}, true
		return
	}
	ev, err := parseEvent(r.kind, r.payload)
	if err != nil {
		a.holes = true
		a.report.find(Finding{Kind: KindDamaged, File: at.file, Offset: at.off, What: fmt.Sprintf("record %d: %v", r.index, err)})
		return
	}
	v, entry := ev.(*settled)
	if r.index < a.next {
		f := Finding{Kind: KindDoubled, File: at.file, Offset: at.off, What: fmt.Sprintf("record %d stands here again", r.index)}
		if entry {
			f.Agent, f.Lane, f.Epoch, f.From, f.To = v.id, v.stream.Lane, v.stream.Epoch, v.entry.From, v.entry.To
			a.tally(v.id, v.stream, v.entry.From-1).doubled += uint64(v.entry.To - v.entry.From + 1)
		}
		a.report.find(f)
		return
	}
	a.arrive(r.index, r.before, at)
	a.next, a.before = r.index+1, summary{}
	if entry {
		v.complete()
		a.before = v.summary()
		a.entry(v, at)
	}
	if e, ok := ev.(*forgotten); ok && e.gone {
		a.letGo(e.id)
	}
	if e, ok := ev.(*resumed); ok {
		a.tally(e.id, collector.Stream{Lane: e.Lane, Epoch: e.Epoch}, e.Base)
	}
	a.state.apply(ev)
}
