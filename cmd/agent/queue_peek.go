package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func peekCommand() *cobra.Command {
	var s settings
	var from agent.MessageID
	var asJSON bool
	count, body := 10, 200
	c := &cobra.Command{
		Use:   "peek",
		Short: "Show messages of a lane, and change nothing",
		Long: `Shows the oldest messages of a lane that no collector has acked: number, time, topic,
size, headers, and the beginning of the body, with everything escaped that a terminal
would obey. Numbers that are dropped or cannot be read have a line that says so. With
--from it begins at that number, acked or not, as far as it is still on disk; numbers of
a stream that is not the lane's first are written 2.17, as "agent queue ls" names it.

It works on a folder whose agent runs, and on one whose agent does not. Nothing is
changed, acked or freed.

--json prints one array of objects {id, lane, epoch, seq, acked, bytes, time, topic,
headers, and body or body_base64 up to --body bytes}; for what is dropped {…, to, dropped
(the reason), dropped_at, detail}, for what cannot be read {…, to, unreadable}.

It exits 1 if something cannot be read or the folder is no agent's, 2 if it is called in
the wrong way, 69 if a daemon has the folder and does not answer, 75 if another program
has it, 78 if there is no such lane.`,
		Example: `  agent queue peek --dir ./pump-7
  agent queue peek --dir ./pump-7 --lane alarms --from 4711 -n 1 --body 1MiB`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			lane := s.given.lane
			if lane == "" {
				lane = string(wire.DefaultLane)
			}
			list, lost := []held{}, troubles{}
			r := heldRequest{Lane: lane, From: from, Acked: from.Number > 0, Body: body, Most: count}
			err = eachHeld(cmd.Context(), c.Dir, r, func(h *held) error {
				if list = append(list, *h); h.Unreadable != "" {
					lost.add(h)
				}
				return nil
			})
			if err != nil && len(list) == 0 {
				return err
			}
			return errors.Join(printHeld(cmd.OutOrStdout(), list, asJSON), err, lost.err())
		},
	}
	s.addFile(c.Flags())
	s.addLane(c, "the lane (default \"default\")")
	c.Flags().Var(daemon.NewValue("NUMBER", "", func(v string) error {
		if err := from.UnmarshalText([]byte(v)); err != nil {
			return err
		}
		from.Number = max(from.Number, 1)
		return nil
	}), "from", "begin here (default at the oldest that is not acked)")
	c.Flags().VarP(daemon.NewValue("COUNT", "10", func(v string) (err error) {
		if count, err = strconv.Atoi(v); err != nil || count < 1 || count > maxPeek {
			err = fmt.Errorf("want 1 to %d; \"agent queue export\" has all", maxPeek)
		}
		return err
	}), "count", "n", "show so many")
	c.Flags().Var(daemon.NewValue("SIZE", "200", func(v string) error {
		n, err := config.ParseSize(v)
		body = int(min(n, wire.MaxRecord))
		return err
	}), "body", "show so much of each body, as in 4KiB")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// maxPeek is how much "queue peek" shows; it keeps that in memory.
const maxPeek = 1000

func printHeld(w io.Writer, list []held, asJSON bool) error {
	if asJSON {
		return daemon.PrintJSON(w, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nothing is held there")
		return err
	}
	var b strings.Builder
	for i := range list {
		h := &list[i]
		acked := ""
		if h.Acked {
			acked = "  acked"
		}
		switch {
		case h.Content != nil:
			fmt.Fprintf(&b, "%s  %s  %s  %s%s\n", h.ID, h.Time.Format(time.RFC3339), config.Approximate(uint64(h.Bytes)), topic(h.Topic), acked)
			for _, header := range h.Headers {
				fmt.Fprintf(&b, "    %s: %s\n", config.Printable(header.Key), config.Printable(header.Value))
			}
			if h.Bytes > 0 {
				fmt.Fprintf(&b, "    %s\n", h.text())
			}
		case h.Dropped != nil:
			fmt.Fprintf(&b, "%s  dropped at %s: %s%s\n", upTo(h), h.DroppedAt.Format(time.RFC3339), strings.Join(strings.Fields(h.Dropped.String()+" "+config.Printable(h.Detail)), " "), acked)
		default:
			fmt.Fprintf(&b, "%s  cannot be read\n", upTo(h))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func topic(t string) string {
	if t == "" {
		return "(no topic)"
	}
	return config.Printable(t)
}

// upTo prints the numbers of what is no message.
func upTo(h *held) string {
	if h.To == h.Seq {
		return h.ID.String()
	}
	return fmt.Sprintf("%s-%d", h.ID, h.To)
}

// text is a body for people, with a mark where it was cut.
func (c *Content) text() string {
	shown, text := 0, ""
	if c.Body != nil {
		shown, text = len(*c.Body), config.Printable(*c.Body)
	} else {
		quoted := strconv.Quote(string(c.BodyBase64))
		shown, text = len(c.BodyBase64), quoted[1:len(quoted)-1]
	}
	if shown < c.Bytes {
		text += fmt.Sprintf(" ... and %s more", config.Approximate(uint64(c.Bytes-shown)))
	}
	return text
}
