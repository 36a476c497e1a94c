package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func repairCommand() *cobra.Command {
	var s settings
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "repair --yes",
		Short: "Make a damaged journal whole again, as far as it can be read",
		Long: `Makes a damaged journal one that reads from end to end and that a collector starts
from. If there is a backup of the damaged file, restore that instead: what repair
marks as gone is gone.

All that can be read stays in its place. Damaged heads and snapshots of segments are
made again from the records before them. Where records cannot be read, a mark says
that they are gone: audit counts the numbers that they held as missing, until they
come again or are accepted (collector audit close). No watermark falls below what can
be read. Every file that is changed is kept as it was in the folder "damaged".

If nothing is left that says how far the agents' streams go, going on could store
messages twice. Then the segments move into a folder store-ID, where tail, export
and audit --dir read them, and a new store begins here, which replaces the old one:
agents send it what no store has acked. Take the new store's id for --replaces
elsewhere if several collectors stand for one.

Without --yes it only says what it would do. The collector must not run: exit code
75. It exits 0 if it is done or there is nothing to do, 1 if there is no journal or
not even its store can be told.

--json prints one object: store, done (false without --yes), steps [{file, what}],
lost_records, new_store.`,
		Example: `  collector repair --dir /var/lib/fieldpost/collector
  collector repair --dir /var/lib/fieldpost/collector --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			r, err := journal.Repair(cmd.Context(), c.Dir, yes)
			if err != nil {
				return interrupted(cmd, err)
			}
			if asJSON {
				return daemon.PrintJSON(cmd.OutOrStdout(), &r)
			}
			return printRepaired(cmd.OutOrStdout(), &r)
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printRepaired(w io.Writer, r *journal.Repaired) error {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%s: %s\n", s.File, config.Printable(s.What))
	}
	switch {
	case len(r.Steps) == 0:
		fmt.Fprintf(&b, "store %s: there is nothing to repair\n", r.Store)
	case !r.Done:
		b.WriteString("nothing is changed without --yes; a backup of these files would be better than repairing them\n")
	case !r.NewStore.IsZero():
		fmt.Fprintf(&b, "done: the folder is store %s now and replaces %s; start the collector\n", r.NewStore, r.Store)
	default:
		fmt.Fprintf(&b, "done: %d records are gone; start the collector, and look at collector audit once its agents have connected\n", r.LostRecords)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
