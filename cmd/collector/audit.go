package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/wire"
)

func auditCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "Prove from every stored byte that nothing is missing and nothing is there twice",
		Long: `Reads every record of the journal, checks every checksum, and accounts for each
stream's numbers: stored, tombstoned (dropped, with the reason), removed by retention,
pending (announced by the agent and not here yet), unexplained, doubled. It trusts no index and no
counter, changes nothing, and may run beside a collector.

It exits 0 only if nothing is unexplained, doubled, lost or damaged; else 1, and
names the stream, the numbers, the file and the place.

--json prints one object: ok, store, segments, records, bytes, removed_records, streams [{agent, lane,
epoch, base, w, stored, tombstoned {reason: count}, removed_by_retention, may_be_doubled, pending,
unexplained, doubled, lost_at_store}] and findings [{kind, agent, lane, epoch,
incarnation, from, to, file, offset, what}]; kind is missing, unexplained, doubled,
lost-at-store, damaged or snapshot. If there are very many findings, more counts
those that are left out.`,
		Example: `  collector audit
  collector audit --dir /var/lib/fieldpost --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			r, err := journal.Audit(cmd.Context(), c.Dir)
			if err != nil {
				return interrupted(cmd, err)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(r)
			} else {
				err = printReport(cmd.OutOrStdout(), &r)
			}
			if err == nil && !r.OK {
				err = errors.New("the audit has findings: what is stored does not account for every number once")
			}
			return err
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printReport writes r for people.
func printReport(w io.Writer, r *journal.Report) error {
	var b strings.Builder
	if len(r.Streams) == 0 {
		b.WriteString("no stream is stored yet\n")
	} else {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "AGENT\tLANE\tEPOCH\tNUMBERS\tSTORED\tTOMBSTONED\tPENDING\tUNEXPLAINED\tDOUBLED\tNOTES")
		for i := range r.Streams {
			s := &r.Streams[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\n", s.Agent, s.Lane, s.Epoch.String()[:8], between(s.Base+1, s.W),
				s.Stored, tombstones(s.Tombstoned), s.Pending, s.Unexplained, s.Doubled, dash(strings.Join(streamNotes(s), ", ")))
		}
		t.Flush()
	}
	for i := range r.Findings {
		b.WriteString(finding(&r.Findings[i]) + "\n")
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "and %d more findings\n", r.More)
	}
	verdict := "nothing is unexplained, nothing is doubled"
	if !r.OK {
		verdict = fmt.Sprintf("%d findings", len(r.Findings)+r.More)
	}
	fmt.Fprintf(&b, "store %s: %d records in %d files, %s, all read: %s\n", r.Store, r.Records, r.Segments, config.Approximate(uint64(r.Bytes)), verdict)
	_, err := io.WriteString(w, b.String())
	return err
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
