package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func verifyCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check every checksum and every number of an agent's queue",
		Long: `Reads all files of all lanes, or of one, and checks them: the name, head and every page
of each segment, the checksum and the messages of each batch, that every number which no
collector has acked is there or was dropped, dead letters, lock, ballast, owner and mode.
It changes nothing, and works on a folder whose agent runs as well. A note is worth
knowing, and no damage.

--json prints an array of objects {lane, streams, segments, bytes, pages, batches,
messages, tombstones, letters, findings [{file, from, to, what, note}]}: file is below
the lane's folder, from and to are the numbers concerned, if any.

It exits 0 if all is whole, 1 if something is damaged (the file and the place are
named) or the folder is no agent's. What the agent does about damage it does as it meets
it; "agent queue repair" does it now.`,
		Example: `  agent queue verify --dir ./pump-7
  agent queue verify --dir ./pump-7 --lane alarms --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			f, err := lookAt(cmd.Context(), c.Dir, s.given.lane)
			if err != nil {
				return err
			}
			list := []agent.Verified{}
			whole := true
			for _, lane := range f.lanes {
				v, err := agent.Verify(cmd.Context(), c.Dir, f.agent, lane, progress(cmd.ErrOrStderr(), lane))
				if err != nil {
					return withCode(err)
				}
				whole = whole && v.Whole()
				list = append(list, v)
			}
			if err := printVerified(cmd.OutOrStdout(), list, asJSON); err != nil {
				return err
			}
			if !whole {
				return errors.New("the queue is damaged; the agent saves what it can as it meets it, or now: agent queue repair")
			}
			return nil
		},
	}
	s.addFile(c.Flags())
	s.addInsecure(c.Flags())
	s.addLane(c, "only this lane")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// progress shows on a terminal how far a verification is.
func progress(w io.Writer, lane string) func(done, total int64) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done, total int64) {
		fmt.Fprintf(f, "\rlane %s: %s of %s\x1b[K\r", lane, config.Approximate(uint64(done)), config.Approximate(uint64(total)))
	}
}

func printVerified(w io.Writer, list []agent.Verified, asJSON bool) error {
	if asJSON {
		return daemon.PrintJSON(w, list)
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "lane\tstreams\tsegments\tbytes\tpages\tbatches\tmessages\tletters\tfindings\t")
	for _, v := range list {
		damage := 0
		for _, f := range v.Findings {
			if !f.Note {
				damage++
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t\n", v.Lane, v.Streams, v.Segments, config.Approximate(uint64(v.Bytes)), v.Pages, v.Batches, v.Messages, v.Letters, damage)
	}
	t.Flush()
	for _, v := range list {
		for _, f := range v.Findings {
			kind := "damaged"
			if f.Note {
				kind = "note"
			}
			fmt.Fprintf(&b, "lane %s, %s: %s: %s\n", v.Lane, f.File, kind, config.Printable(f.What))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
