package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/wire"
)

// How many lines of each part of an audit are shown where not everything is.
const (
	shownStreams   = 40
	shownSums      = 40
	shownFindings  = 20
	shownIncidents = 10
	shownClosings  = 10
)

// sum is what of a stream is not stored for one reason.
type sum struct {
	of      journal.Range // From of the first, To of the last one, and the times of all
	numbers uint64
	ranges  uint64
}

// sumKey tells sums apart.
type sumKey struct {
	agent  wire.AgentID
	lane   wire.Lane
	epoch  wire.Epoch
	why    journal.Why
	detail string
	closed bool
}

// auditText audits and writes for people.
func auditText(ctx context.Context, to io.Writer, dir string, look *audience) (journal.Report, error) {
	w := bufio.NewWriter(to)
	sums := map[sumKey]*sum{}
	nexts := map[journal.Why]string{}
	head := "every range of numbers that is not stored:\n"
	r, err := journal.Explain(ctx, dir, func(g journal.Range) error {
		if !look.wants(g.Agent, g.Lane) {
			return nil
		}
		if g.Closed == nil {
			nexts[g.Why] = g.Next
		}
		if look.everything() {
			_, err := w.WriteString(head + "  " + rangeLine(&g) + "\n")
			head = ""
			return err
		}
		k := sumKey{g.Agent, g.Lane, g.Epoch, g.Why, g.Detail, g.Closed != nil}
		s := sums[k]
		if s == nil {
			s = &sum{of: g}
			sums[k] = s
		}
		s.add(&g)
		return nil
	})
	if err != nil {
		return r, err
	}
	look.choose(&r)
	if head == "" {
		w.WriteString("\n")
	}
	writeStreams(w, r.Streams, look.everything())
	writeSums(w, sums)
	writeNexts(w, nexts)
	writeFindings(w, &r, look.everything())
	writeClosings(w, r.Closings, look.everything())
	writeForgotten(w, r.Forgotten, look.everything())
	writeIncidents(w, r.Incidents, look.everything())
	verdict := "nothing is unexplained, nothing is doubled"
	if !r.OK {
		verdict = fmt.Sprintf("%d findings", len(r.Findings)+r.More)
	}
	if r.LostRecords > 0 {
		fmt.Fprintf(w, "%d records are gone, which repair has marked\n", r.LostRecords)
	}
	fmt.Fprintf(w, "store %s: %d records in %d files, %s, all read: %s\n", r.Store, r.Records, r.Segments, config.Approximate(uint64(r.Bytes)), verdict)
	return r, w.Flush()
}

func (s *sum) add(g *journal.Range) {
	s.numbers += g.Numbers()
	s.ranges++
	o := &s.of
	o.From, o.To = min(o.From, g.From), max(o.To, g.To)
	o.Dropped, o.DroppedLast = earlier(o.Dropped, g.Dropped), later(o.DroppedLast, g.DroppedLast)
	o.Taken, o.TakenLast = earlier(o.Taken, g.Taken), later(o.TakenLast, g.TakenLast)
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// rangeLine says all about a range in a line.
func rangeLine(g *journal.Range) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s/%s %s %s: %d", g.Agent, g.Lane, epochName(g.Epoch), between(g.From, g.To), g.Why, g.Numbers())
	if !g.Incarnation.IsZero() {
		fmt.Fprintf(&b, ", incarnation %s", g.Incarnation.String()[:8])
	}
	if g.Detail != "" {
		fmt.Fprintf(&b, ", %s", shown(g.Detail))
	}
	if !g.Dropped.IsZero() {
		fmt.Fprintf(&b, ", dropped %s", times(g.Dropped, g.DroppedLast))
	}
	switch {
	case g.Why == journal.WhyUnexplained:
		fmt.Fprintf(&b, ", the agent was heard last %s", times(g.Taken, g.Taken))
	case !g.Taken.IsZero():
		fmt.Fprintf(&b, ", taken %s", times(g.Taken, g.TakenLast))
	}
	if c := g.Closed; c != nil {
		fmt.Fprintf(&b, "; closed by %s at %s: %s", shown(c.By), moment(c.Time), shown(c.Reason))
	}
	return b.String()
}

func epochName(e wire.Epoch) string {
	if e.IsZero() {
		return "?"
	}
	return e.String()[:8]
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// times prints the first and the last of some times.
func times(first, last time.Time) string {
	if first.IsZero() && last.IsZero() {
		return "-"
	}
	if moment(first) == moment(last) {
		return moment(first)
	}
	return moment(first) + " to " + moment(last)
}

// bad is how much an operator has to care for a stream.
func bad(s *journal.StreamReport) (n uint64) {
	n = s.Unexplained + s.Doubled + s.LostAtStore
	if n > 0 {
		return n + 1<<62
	}
	for _, k := range s.Tombstoned {
		n += k
	}
	return n
}

func writeStreams(w io.Writer, list []journal.StreamReport, all bool) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no stream is stored yet")
		return
	}
	left := 0
	if !all && len(list) > shownStreams {
		left = len(list) - shownStreams
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(x, y journal.StreamReport) int { return cmp.Compare(bad(&y), bad(&x)) })
		list = list[:shownStreams]
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AGENT\tLANE\tEPOCH\tNUMBERS\tSTORED\tTOMBSTONED\tPENDING\tUNEXPLAINED\tDOUBLED\tNOTES")
	for i := range list {
		s := &list[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\n", s.Agent, s.Lane, epochName(s.Epoch), between(s.Base+1, s.W),
			s.Stored, tombstones(s.Tombstoned), s.Pending, s.Unexplained, s.Doubled, dash(strings.Join(streamNotes(s), ", ")))
	}
	t.Flush()
	if left > 0 {
		fmt.Fprintf(w, "and %d more streams, of which nothing is worse: --all shows them\n", left)
	}
}

// rank orders reasons, the worst first.
func rank(k *sumKey) int {
	if k.closed {
		return 9
	}
	switch k.why {
	case journal.WhyUnexplained, journal.WhyMissing:
		return 0
	case journal.Why(wire.ReasonLostAtStore.String()):
		return 1
	case journal.Why(wire.ReasonCorrupt.String()), journal.Why(wire.ReasonMissing.String()), journal.Why(wire.ReasonRejected.String()):
		return 2
	case journal.WhyPending, journal.WhyRemoved, journal.Why(wire.ReasonStoredIn.String()):
		return 4
	}
	return 3
}

func writeSums(w io.Writer, sums map[sumKey]*sum) {
	if len(sums) == 0 {
		return
	}
	keys := make([]sumKey, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y sumKey) int {
		return cmp.Or(cmp.Compare(rank(&x), rank(&y)), cmp.Compare(sums[y].numbers, sums[x].numbers), cmp.Compare(x.agent, y.agent), cmp.Compare(x.lane, y.lane),
			slices.Compare(x.epoch.ID[:], y.epoch.ID[:]), cmp.Compare(x.why, y.why))
	})
	fmt.Fprintln(w, "\nwhat is not stored, and why:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AGENT\tLANE\tEPOCH\tWHY\tCOUNT\tNUMBERS\tRANGES\tDROPPED\tTAKEN")
	for i, k := range keys {
		if i == shownSums {
			break
		}
		s := sums[k]
		why := string(k.why)
		if k.detail != "" {
			why += " " + shown(k.detail)
		}
		if c := s.of.Closed; c != nil {
			why += " (closed)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\n", k.agent, k.lane, epochName(k.epoch), why, s.numbers, between(s.of.From, s.of.To), s.ranges,
			times(s.of.Dropped, s.of.DroppedLast), times(s.of.Taken, s.of.TakenLast))
	}
	t.Flush()
	if n := len(keys) - shownSums; n > 0 {
		fmt.Fprintf(w, "and %d more lines: --agent ID shows those of an agent, --all every range\n", n)
	}
}

func writeNexts(w io.Writer, nexts map[journal.Why]string) {
	if len(nexts) == 0 {
		return
	}
	var list []journal.Why
	for why := range nexts {
		list = append(list, why)
	}
	slices.SortFunc(list, func(x, y journal.Why) int {
		return cmp.Or(cmp.Compare(rank(&sumKey{why: x}), rank(&sumKey{why: y})), cmp.Compare(x, y))
	})
	fmt.Fprintln(w, "\nwhat to do:")
	for _, why := range list {
		fmt.Fprintf(w, "  %s: %s\n", why, nexts[why])
	}
}

func writeFindings(w io.Writer, r *journal.Report, all bool) {
	if len(r.Findings)+r.More == 0 {
		fmt.Fprintln(w)
		return
	}
	fmt.Fprintln(w, "\nfindings:")
	list, more := r.Findings, r.More
	if !all && len(list) > shownFindings {
		list, more = list[:shownFindings], more+len(list)-shownFindings
	}
	for i := range list {
		fmt.Fprintln(w, finding(&list[i]))
	}
	if more > 0 {
		fmt.Fprintf(w, "and %d more findings\n", more)
	}
	fmt.Fprintln(w)
}

func writeClosings(w io.Writer, list []journal.AgentClosing, all bool) {
	left := 0
	if !all && len(list) > shownClosings {
		left = len(list) - shownClosings
		list = list[left:]
	}
	for _, c := range list {
		n := uint64(0)
		for _, r := range c.Ranges {
			n += uint64(r.To - r.From + 1)
		}
		fmt.Fprintf(w, "CLOSED: agent %s: %d numbers accepted by %s at %s: %s\n", c.Agent, n, shown(c.By), moment(c.Time), shown(c.Reason))
	}
	if left > 0 {
		fmt.Fprintf(w, "and %d older closings: --all shows them\n", left)
	}
}

func writeForgotten(w io.Writer, list []journal.AgentForgotten, all bool) {
	slices.SortStableFunc(list, func(x, y journal.AgentForgotten) int { return y.Time.Compare(x.Time) })
	left := 0
	if !all && len(list) > shownClosings {
		left, list = len(list)-shownClosings, list[:shownClosings]
	}
	for i := range list {
		f := &list[i]
		fmt.Fprintf(w, "FORGOTTEN: agent %s by %s at %s%s; %d messages that it had announced were given up, what it delivered is counted above\n",
			f.Agent, shown(f.By), moment(f.Time), because(f.Reason), f.GivenUp)
	}
	if left > 0 {
		fmt.Fprintf(w, "and %d agents that were forgotten before: --all shows them\n", left)
	}
}

func writeIncidents(w io.Writer, list []journal.AgentIncident, all bool) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y journal.AgentIncident) int { return y.Last.Compare(x.Last) })
	left := 0
	if !all && len(list) > shownIncidents {
		left, list = len(list)-shownIncidents, list[:shownIncidents]
	}
	for i := range list {
		fmt.Fprintf(w, "HISTORY: agent %s: %s\n", list[i].Agent, incidentLine(&list[i].Incident))
	}
	if left > 0 {
		fmt.Fprintf(w, "and %d older incidents: collector agents ID shows those of an agent\n", left)
	}
}
