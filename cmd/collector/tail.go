package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/export"
	"github.com/fieldpost/fieldpost/wire"
)

func tailCommand() *cobra.Command {
	var s settings
	var t tail
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print the last messages, and go on with new ones as they come",
		Long: `Prints the last stored messages, with -f also new ones as they come, until it is
stopped. It may run beside a collector. When it ends it says on standard error how
to go on from there: --after CURSOR prints everything behind that place, and
--after "" everything.

` + lineHelp,
		Example: `  collector tail -f
  collector tail --agent pump-7 --topic 'pump/*' --last 100
  collector tail -f --after 1-4711-42`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			t.all = cmd.Flags().Changed("after")
			return t.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), c.Dir)
		},
	}
	f := c.Flags()
	s.addFile(f)
	addFilter(f, &t.filter)
	f.BoolVarP(&t.follow, "follow", "f", false, "go on with new messages as they come")
	f.StringVar((*string)(&t.after), "after", "", "print everything behind this `CURSOR`; \"\" is the beginning")
	f.UintVarP(&t.last, "last", "n", 10, "how many of the messages that are there to begin with")
	return c
}

// tail is one call of the command.
type tail struct {
	filter export.Filter
	follow bool
	all    bool // begin behind after, not with the last ones
	after  collector.Cursor
	last   uint
}

func (t *tail) run(ctx context.Context, out, note io.Writer, dir string) error {
	r, err := journal.OpenReader(dir)
	if err != nil {
		return withCode(err)
	}
	from, skip := t.after, uint64(0)
	if !t.all {
		if from, skip, err = t.find(ctx, r); err != nil && !errors.Is(err, journal.ErrDamaged) {
			return withCode(err)
		}
	}
	w := bufio.NewWriterSize(out, 64<<10)
	lines := export.Lines(t.filter, func(line []byte) error {
		if skip > 0 {
			skip--
			return nil
		}
		_, err := w.Write(line)
		return err
	})
	show := func(s collector.Stored) error {
		if err := lines(s); err != nil || !t.follow {
			return err
		}
		return w.Flush()
	}
	read := r.Read
	if t.follow {
		read = r.Follow
	}
	end, err := read(ctx, from, show)
	err = errors.Join(err, w.Flush())
	if errors.Is(err, context.Canceled) {
		err = nil // stopping it is how it ends
	}
	if err == nil || errors.Is(err, journal.ErrDamaged) {
		fmt.Fprintf(note, "to go on from here: --after %q\n", string(end))
	}
	return withCode(err)
}

// find returns where the last messages begin: a cursor, and how many to skip
// behind it. It remembers places, not messages.
func (t *tail) find(ctx context.Context, r *journal.Reader) (from collector.Cursor, skip uint64, err error) {
	type place struct {
		before collector.Cursor // of the entry
		count  uint64           // messages in it that pass the filter
	}
	var places []place
	var total uint64
	var at collector.Cursor
	want := uint64(t.last)
	end, err := r.Read(ctx, "", func(s collector.Stored) error {
		n := uint64(0)
		err := export.Messages(t.filter, s, func(wire.Seq, wire.Message) error { n++; return nil })
		if n > 0 {
			places = append(places, place{at, n})
			total += n
		}
		at = s.Cursor
		for len(places) > 0 && total-places[0].count >= want {
			total -= places[0].count
			places = places[1:]
		}
		return err
	})
	if len(places) == 0 {
		return end, 0, err
	}
	return places[0].before, total - min(total, want), err
}
