package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func exportCommand() *cobra.Command {
	var s settings
	var all bool
	var file string
	c := &cobra.Command{
		Use:   "export",
		Short: "Print what is not delivered, as lines of JSON, or write a carry file",
		Long: `Prints the messages of all lanes, or of one, that no collector has acked, one JSON
object a line: agent, lane, epoch, seq, time, topic, headers, body; body_base64 instead
of body where it is not valid UTF-8. The collector's export has the same, and the time at
which it received each. Within a lane and an epoch the lines come in the order in which
they were sent.

It works on a folder whose agent runs, and on one whose agent does not, changes
nothing, and frees nothing: what is printed is delivered all the same. What is
delivered while it prints may be left out. What is dropped is not printed; "agent queue
ls" has it.

With --carry FILE it writes a carry file instead, for a site without a link: batches as
they lie in the queue, with checksums. "collector import FILE" takes it, every message
once, whatever other carry files and links bring, and answers with a receipt, for "agent
queue receipt". Until then nothing is freed, and every export begins where the acks end.
FILE gets its name when it is whole and on disk; a file that is there is not replaced.
It is not encrypted. --all takes also what is acked and still here, for a store that was
set back. What damage has taken leaves a tombstone, as it does on a link. A folder at rest is
opened for it, so its disk must take writes.

What cannot be read is left out and told at the end; the exit code is then 1. It is 2
if the command is called in the wrong way, 69 if a daemon has the folder and does not
answer, 75 if it is interrupted or another program has the folder, 78 if there is no
such lane.`,
		Example: `  agent queue export --dir ./pump-7 > backlog.jsonl
  agent queue export --dir ./pump-7 --lane alarms --all
  agent queue export --dir ./pump-7 --carry /media/stick/pump-7-$(date +%F).carry`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("carry") {
				done, err := carryTo(cmd.Context(), c, file, carryRequest{s.given.lane, all})
				if err != nil {
					return err
				}
				return printCarried(cmd.OutOrStdout(), file, done)
			}
			folder, err := lookAt(cmd.Context(), c.Dir, s.given.lane)
			if err != nil {
				return err
			}
			return exportLines(cmd.Context(), folder, all, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.addFile(c.Flags())
	s.addLane(c, "only this lane")
	c.Flags().BoolVar(&all, "all", false, "also what is acked, as far as it is still on disk")
	c.Flags().StringVar(&file, "carry", "", "write a carry file for \"collector import\" to this `FILE`")
	return c
}

// exportLine is a message as the collector's export has it too.
type exportLine struct {
	Agent      string         `json:"agent"`
	Lane       string         `json:"lane"`
	Epoch      wire.Epoch     `json:"epoch"`
	Seq        wire.Seq       `json:"seq"`
	Time       time.Time      `json:"time"`
	Topic      string         `json:"topic"`
	Headers    []agent.Header `json:"headers"`
	Body       *string        `json:"body,omitempty"`
	BodyBase64 []byte         `json:"body_base64,omitempty"`
}

// exportLines prints the messages of lanes to w.
func exportLines(ctx context.Context, folder folder, acked bool, w, stderr io.Writer) error {
	buf := bufio.NewWriterSize(w, 64<<10)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	progress := daemon.NewProgress(stderr)
	var lost troubles
	var errs []error
	count := 0
	for _, lane := range folder.lanes {
		err := eachHeld(ctx, folder.dir, heldRequest{Lane: lane, Acked: acked, Body: wire.MaxRecord}, func(h *held) error {
			switch {
			case h.Unreadable != "":
				lost.add(h)
			case h.Content != nil:
				count++
				progress.Say("lane %s: %d messages exported", lane, count)
				return e.Encode(exportLine{folder.agent, h.Lane, h.Epoch, h.Seq, h.Time, h.Topic, h.Headers, h.Body, h.BodyBase64})
			}
			return nil
		})
		if ctx.Err() != nil {
			progress.Done()
			return daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted: what was printed is not all: %w", errors.Join(ctx.Err(), buf.Flush())))
		}
		errs = append(errs, err)
	}
	progress.Done()
	return errors.Join(append(errs, buf.Flush(), lost.err())...)
}

// troubles is what could not be read.
type troubles struct {
	list []error
	more int
}

// maxTroubles is how many are told one by one.
const maxTroubles = 20

func (t *troubles) add(h *held) {
	if len(t.list) == maxTroubles {
		t.more++
		return
	}
	t.list = append(t.list, fmt.Errorf("lane %s, numbers %s to %d cannot be read: %s", h.Lane, h.ID, h.To, config.Printable(h.Unreadable)))
}

func (t *troubles) err() error {
	if t.more > 0 {
		return errors.Join(append(t.list, fmt.Errorf("and %d more ranges", t.more))...)
	}
	return errors.Join(t.list...)
}
