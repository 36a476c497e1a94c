package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func deadCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dead",
		Short: "List, export, retry and discard dead letters",
		Long: `A message that the store refuses for good, because it is damaged or breaks a rule
there, does not block its lane: it becomes a dead letter, with the reason, and a
tombstone stands for it in the store's ledger. A lane keeps the newest 10,000 dead
letters, or 64 MiB of them.

The commands work on a folder whose agent runs, and on one whose agent does not.
A dead letter is named by a number, or two, like 2.7, in a lane that has gone live
first.

They exit 1 if there is no such letter or the folder is no agent's, 64 if they are
called in the wrong way, 69 if a daemon has the folder and does not answer (76 if
it may have retried or discarded), 75 if another program has the folder or the
lane is full, 78 if there is no such lane.`,
		Example: `  agent queue dead ls --dir ./pump-7
  agent queue dead export --dir ./pump-7 --lane alarms > letters.jsonl
  agent queue dead retry --dir ./pump-7 3 4
  agent queue dead discard --dir ./pump-7 --all --yes`,
	}
	c.AddCommand(deadListCommand(), deadExportCommand(), deadChangeCommand("retry"), deadChangeCommand("discard"))
	return c
}

// addLane defines --lane for a command that looks at one.
func (s *settings) addLane(c *cobra.Command, usage string) {
	s.lane = daemon.NewValue("LANE", "", func(v string) error { s.given.lane = v; return wire.CheckName("lane", v) })
	c.Flags().Var(s.lane, "lane", usage)
}

// lanesFor returns the lane that is named, else all that the agent has.
func lanesFor(ctx context.Context, s *settings, dir string) ([]string, error) {
	if s.given.lane != "" {
		return []string{s.given.lane}, nil
	}
	st, err := status(ctx, dir)
	var names []string
	for _, l := range st.Lanes {
		names = append(names, l.Lane)
	}
	return names, err
}

func deadListCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters with the reasons",
		Long: `Lists the dead letters of all lanes, or of one, oldest first.

--json prints one array of objects {id, lane, epoch, seq, refused, why, bytes, time,
topic, headers}: seq is the number the message had in its stream, refused when the
store refused it, bytes the size of its body, time the message's own. Times are
RFC 3339.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			list := []letter{}
			names, err := lanesFor(cmd.Context(), &s, c.Dir)
			for _, lane := range names {
				err = errors.Join(err, eachLetter(cmd.Context(), c.Dir, lane, true, func(l *letter) error {
					list = append(list, *l)
					return nil
				}))
			}
			if len(list) == 0 && err != nil {
				return err
			}
			return errors.Join(printLetters(cmd.OutOrStdout(), list, asJSON), err)
		},
	}
	s.addFile(c.Flags())
	s.addLane(c, "only this lane")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printLetters(w io.Writer, list []letter, asJSON bool) error {
	if asJSON {
		return daemon.PrintJSON(w, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "lane\tletter\trefused\tnumber\tbytes\ttopic\twhy")
	for _, l := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.Lane, l.ID, l.Refused.Format(time.RFC3339), l.Seq, l.Bytes, config.Printable(l.Topic), config.Printable(l.Why))
	}
	t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

func deadExportCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "export",
		Short: "Print dead letters whole, as lines of JSON",
		Long: `Prints the dead letters of all lanes, or of one, oldest first, one JSON object a
line: {id, lane, epoch, seq, refused, why, bytes, time, topic, headers} as "ls --json"
has them, and body, or body_base64 where the body is no UTF-8. A body comes out
byte for byte as it was sent.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetEscapeHTML(false)
			names, err := lanesFor(cmd.Context(), &s, c.Dir)
			for _, lane := range names {
				err = errors.Join(err, eachLetter(cmd.Context(), c.Dir, lane, false, func(l *letter) error { return e.Encode(l) }))
			}
			return err
		},
	}
	s.addFile(c.Flags())
	s.addLane(c, "only this lane")
	return c
}

// deadChangeCommand is "dead retry" or "dead discard".
func deadChangeCommand(what string) *cobra.Command {
	var s settings
	var all, yes bool
	c := &cobra.Command{
		Use:   "retry LETTER... | --all",
		Short: "Send dead letters once more, as new messages",
		Long: `Puts dead letters of a lane into it once more, as new messages with the time that
they had, and forgets the letters: both in one step on disk. What the store refuses
again becomes a dead letter again. It prints how many there were.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			if s.given.lane == "" {
				s.given.lane = string(wire.DefaultLane)
			}
			ids, err := letterIDs(args, all)
			if err != nil {
				return daemon.WithCode(daemon.Usage, err)
			}
			if all {
				err := eachLetter(cmd.Context(), c.Dir, s.given.lane, true, func(l *letter) error { ids = append(ids, l.ID); return nil })
				if err != nil {
					return err
				}
			}
			if what == "discard" && !yes {
				return daemon.WithCode(daemon.Usage, fmt.Errorf("%d dead letters of lane %s would be gone for good; export them first, or add --yes", len(ids), s.given.lane))
			}
			if len(ids) > 0 {
				if err := changeLetters(cmd.Context(), c, what, s.given.lane, ids); err != nil {
					return err
				}
			}
			done := map[string]string{"retry": "sent once more", "discard": "discarded"}[what]
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d dead letters of lane %s %s\n", len(ids), s.given.lane, done)
			return err
		},
	}
	if what == "discard" {
		c.Use, c.Short = "discard LETTER... | --all", "Forget dead letters for good"
		c.Long = `Forgets dead letters of a lane for good. The store's ledger goes on to say that they
were refused. It does nothing without --yes. It prints how many there were.`
		c.Flags().BoolVar(&yes, "yes", false, "do it: there is no way back")
	}
	s.addFile(c.Flags())
	s.addLane(c, "the letters' lane (default \"default\")")
	c.Flags().BoolVar(&all, "all", false, "all dead letters of the lane")
	s.log = daemon.AddLogFlags(c.Flags())
	return c
}

// letterIDs reads the names on the command line.
func letterIDs(args []string, all bool) (ids []agent.LetterID, err error) {
	if all == (len(args) > 0) {
		return nil, errors.New("name dead letters, as \"agent queue dead ls\" shows them, or --all")
	}
	for _, text := range args {
		var id agent.LetterID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
