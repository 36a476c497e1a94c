package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func verifyCommand() *cobra.Command {
	var s settings
	var asJSON, silent bool
	c := &cobra.Command{
		Use:   "verify",
		Short: "Read every stored byte and check every checksum",
		Long: `Reads every entry of every file of the journal: each checksum must hold, each record
must follow the one before it, each message must decode. It changes nothing and may
run beside a collector; then it sees what was synced when it began. What takes long
tells on stderr how far it is.

It says whether the files are what was written. Whether every message that an agent
has announced is in them is what audit says.

It exits 0 if all is whole, 1 if something is damaged (then it names the file and the
place) or there is no journal, 75 if it was interrupted or retention removed files
while it read them: begin again.

--json prints one object: ok, store, segments, records, messages, bytes,
removed_records, lost_records (which repair has marked as gone) and findings [{kind,
file, offset, what}]. If there are very many
findings, more counts those that are left out.`,
		Example: `  collector verify
  collector verify --dir /backup/collector --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			v, err := journal.Verify(cmd.Context(), c.Dir, tell(cmd.ErrOrStderr(), silent))
			if err != nil {
				return interrupted(cmd, err)
			}
			return printVerified(cmd.OutOrStdout(), &v, asJSON)
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVarP(&silent, "quiet", "q", false, "do not tell how far it is")
	return c
}

// interrupted gives an error of a long reading its exit code.
func interrupted(cmd *cobra.Command, err error) error {
	if cmd.Context().Err() != nil {
		return daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted: %w", err))
	}
	return withCode(err)
}

// tellEvery is how often a long work tells how far it is.
const tellEvery = 2 * time.Second

// tell returns a progress function that writes to w, nil if it is not to.
func tell(w io.Writer, silent bool) func(done, total int64) {
	if silent {
		return nil
	}
	began := time.Now()
	last := began
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= tellEvery && total > 0 {
			last = now
			rest := time.Duration(float64(now.Sub(began)) * float64(total-done) / float64(max(done, 1))).Round(time.Second)
			fmt.Fprintf(w, "%d %%: %s of %s, about %s to go\n", 100*done/total, config.Approximate(uint64(done)), config.Approximate(uint64(total)), rest)
		}
	}
}

// printVerified writes v; a journal that is not whole is an error.
func printVerified(w io.Writer, v *journal.Verified, asJSON bool) error {
	if asJSON {
		if err := daemon.PrintJSON(w, v); err != nil {
			return err
		}
	} else {
		var b strings.Builder
		for i := range v.Findings {
			b.WriteString(finding(&v.Findings[i]) + "\n")
		}
		if v.More > 0 {
			fmt.Fprintf(&b, "and %d more findings\n", v.More)
		}
		verdict := "all is whole"
		if !v.OK {
			verdict = fmt.Sprintf("%d findings", len(v.Findings)+v.More)
		}
		removed := ""
		if v.RemovedRecords > 0 {
			removed = fmt.Sprintf(" (the first %d were removed by retention)", v.RemovedRecords)
		}
		if v.LostRecords > 0 {
			removed += fmt.Sprintf(" (%d are gone, which repair has marked)", v.LostRecords)
		}
		fmt.Fprintf(&b, "store %s: %d messages in %d records%s in %d files, %s, all read: %s\n", v.Store, v.Messages, v.Records, removed, v.Segments, config.Approximate(uint64(v.Bytes)), verdict)
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	if !v.OK {
		return errors.New("parts of the journal are damaged: restore these files from a backup; if there is none, collector repair marks what is gone")
	}
	return nil
}
