package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func auditCommand() *cobra.Command {
	var s settings
	var asJSON bool
	var look audience
	c := &cobra.Command{
		Use:   "audit",
		Short: "Prove from every stored byte that nothing is missing and nothing is there twice",
		Long: `Reads every record of the journal, checks every checksum, and accounts for each
stream's numbers: stored, tombstoned (dropped, with the reason), removed by retention,
pending (announced by the agent and not here yet), unexplained, doubled. It trusts no
index and no counter, changes nothing, and may run beside a collector.

For what is not stored it says whose it is, why, when it was dropped (by the agent's
clock) and when that was taken, and what to do. Without flags it sums that up for each
stream and reason, the worst first. --agent and --lane choose, and show every range;
--all shows everything.

It exits 0 only if nothing is unexplained, doubled, lost or damaged; else 1, and
names the stream, the numbers, the file and the place. What an operator has accepted
(collector audit close) is shown as closed and does not count.

--json prints one object with everything: ranges [{agent, lane, epoch, incarnation,
from, to, why, detail, dropped, dropped_last, taken, taken_last, closed {time, by,
reason}, next}], ok, store, segments, records, bytes, removed_records, lost_records, streams
[{agent, lane, epoch, base, w, stored, tombstoned {reason: count},
removed_by_retention, may_be_doubled, pending, unexplained, doubled, lost_at_store,
closed}], findings [{kind, agent, lane, epoch, incarnation, from, to, file, offset,
what}], closings [{agent, time, by, reason, ranges}], forgotten [{agent, time, by,
reason, given_up}] and incidents [{agent, kind, first, last, count, lane, epoch,
origin, from, to, detail}]. why is a tombstone's
reason, record-missing, unexplained, pending or removed-by-retention; the kind of a
finding missing, unexplained, doubled, lost-at-store, damaged or snapshot; that of an
incident as in "collector agents ID". Times are RFC 3339. If there are very many
findings, more counts those that are left out. --agent and --lane choose here too,
but for ok.`,
		Example: `  collector audit
  collector audit --agent pump-7
  collector audit --dir /var/lib/fieldpost --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			var r journal.Report
			if asJSON {
				r, err = auditJSON(cmd.Context(), cmd.OutOrStdout(), c.Dir, &look)
			} else {
				r, err = auditText(cmd.Context(), cmd.OutOrStdout(), c.Dir, &look)
			}
			if err != nil {
				return interrupted(cmd, err)
			}
			if !r.OK {
				return errors.New("the audit has findings: what is stored does not account for every number once")
			}
			return nil
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	look.addFlags(c.Flags())
	c.AddCommand(auditCloseCommand())
	return c
}

// audience is what of an audit is to be seen.
type audience struct {
	agent wire.AgentID
	lane  wire.Lane
	all   bool
}

func (a *audience) addFlags(f *pflag.FlagSet) {
	f.Var(daemon.NewValue("ID", "", func(s string) (err error) { a.agent, err = wire.ParseAgentID(s); return }), "agent", "show everything about this agent, and nothing about others")
	f.Var(daemon.NewValue("LANE", "", func(s string) (err error) { a.lane, err = wire.ParseLane(s); return }), "lane", "the same for lanes of this name")
	f.BoolVar(&a.all, "all", false, "show every stream, range and finding")
}

// wants reports whether something about an agent and a lane is to be seen. "" is
// about all.
func (a *audience) wants(id wire.AgentID, lane wire.Lane) bool {
	return (a.agent == "" || id == "" || id == a.agent) && (a.lane == "" || lane == "" || lane == a.lane)
}

// everything reports whether nothing is to be summed up.
func (a *audience) everything() bool { return a.all || a.agent != "" || a.lane != "" }

// choose leaves in r what is to be seen.
func (a *audience) choose(r *journal.Report) {
	r.Streams = slices.DeleteFunc(r.Streams, func(s journal.StreamReport) bool { return !a.wants(s.Agent, s.Lane) })
	r.Findings = slices.DeleteFunc(r.Findings, func(f journal.Finding) bool { return !a.wants(f.Agent, f.Lane) })
	r.Closings = slices.DeleteFunc(r.Closings, func(c journal.AgentClosing) bool { return !a.wants(c.Agent, "") })
	r.Forgotten = slices.DeleteFunc(r.Forgotten, func(f journal.AgentForgotten) bool { return !a.wants(f.Agent, "") })
	r.Incidents = slices.DeleteFunc(r.Incidents, func(n journal.AgentIncident) bool { return !a.wants(n.Agent, n.Lane) })
}

// auditJSON audits and writes one object. Its ranges are written as they are
// found, so that memory does not depend on how many there are.
func auditJSON(ctx context.Context, to io.Writer, dir string, look *audience) (journal.Report, error) {
	w := bufio.NewWriter(to)
	w.WriteString("{\n  \"ranges\": [")
	sep := "\n    "
	r, err := journal.Explain(ctx, dir, func(g journal.Range) error {
		if !look.wants(g.Agent, g.Lane) {
			return nil
		}
		b, err := json.Marshal(&g)
		if err == nil {
			w.WriteString(sep)
			_, err = w.Write(b)
		}
		sep = ",\n    "
		return err
	})
	if err != nil {
		return r, err
	}
	look.choose(&r)
	b, err := json.MarshalIndent(&r, "", "  ")
	if err != nil {
		return r, err
	}
	if sep[0] == ',' {
		w.WriteString("\n  ")
	}
	w.WriteString("],")
	w.Write(b[1:]) // without the object's brace
	w.WriteString("\n")
	return r, w.Flush()
}

// between prints a range of numbers.
func between(from, to wire.Seq) string {
	if to < from {
		return "none"
	}
	return fmt.Sprintf("%d-%d", from, to)
}

func tombstones(counts map[wire.Reason]uint64) string {
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	if list == nil {
		return "0"
	}
	return strings.Join(list, ", ")
}

func streamNotes(s *journal.StreamReport) (list []string) {
	if s.Removed > 0 {
		list = append(list, fmt.Sprintf("%d removed by retention", s.Removed))
	}
	if s.MayDouble > 0 {
		list = append(list, fmt.Sprintf("%d may be doubled", s.MayDouble))
	}
	if s.LostAtStore > 0 {
		list = append(list, fmt.Sprintf("%d lost at store", s.LostAtStore))
	}
	if s.Closed > 0 {
		list = append(list, fmt.Sprintf("%d closed", s.Closed))
	}
	return list
}

// finding prints one finding in a line.
func finding(f *journal.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", strings.ToUpper(string(f.Kind)))
	if f.Agent != "" {
		fmt.Fprintf(&b, " agent %s", f.Agent)
	}
	if f.Lane != "" {
		fmt.Fprintf(&b, ", lane %s", f.Lane)
	}
	if !f.Epoch.IsZero() {
		fmt.Fprintf(&b, ", epoch %s", f.Epoch)
	}
	if f.From > 0 {
		fmt.Fprintf(&b, ", numbers %s", between(f.From, f.To))
	}
	if f.File != "" {
		fmt.Fprintf(&b, ", %s at %d", f.File, f.Offset)
	}
	fmt.Fprintf(&b, ": %s", config.Printable(f.What))
	return strings.Replace(b.String(), ":,", ":", 1)
}
