package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func purgeCommand() *cobra.Command {
	var s settings
	var what agent.Purge
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "purge",
		Short: "Give up messages of a lane that are not delivered",
		Long: `Drops messages of a lane that no collector has acked. Each leaves its number: a
tombstone with the reason "purged" and the time stands for it, travels in its place, and
shows in "collector audit". There is no way back: "agent queue export" first.

Without --yes nothing is done: it only says what would go. --before takes a number (what
is before it in its stream), a point in time or how long ago (the messages that were made
before); without it all that is not acked goes. Only whole batches are dropped, so
messages at the bound may stay, and a batch goes only if all its messages are old enough:
the answer says what was taken. A message that was on its way to the collector and got
there counts as stored, and is not counted as purged once that is known.

On a folder whose agent runs, the agent does it and goes on accepting and delivering;
else the command does it in the folder.

--json prints one object: lane, done, messages, kept (messages within the bound that
stay, because their batch goes on beyond it), unread (numbers whose age cannot be read;
they stay), streams [{stream, epoch, messages, from, to, places}].

It exits 1 if something is damaged, or lies scattered in more than 10,000 places, or the
folder is no agent's; 2 if it is called in the wrong way; 69 if a daemon has the folder
and does not answer; 75 if another program has the folder or the disk takes nothing; 76
if more may have been dropped than it says; 78 if there is no such lane.`,
		Example: `  agent queue purge --dir ./pump-7 --lane bulk --before 72h
  agent queue purge --dir ./pump-7 --lane bulk --before 72h --yes
  agent queue purge --dir ./pump-7 --lane bulk --before 4711 --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			if s.given.lane == "" {
				return daemon.WithCode(daemon.Usage, errors.New("name the lane with --lane"))
			}
			r := purgeRequest{Lane: s.given.lane, Purge: what, Yes: yes}
			p, err := purge(cmd.Context(), c, r)
			if err != nil && p.Messages == 0 {
				return err
			}
			return errors.Join(printPurged(cmd.OutOrStdout(), r, p, asJSON), err)
		},
	}
	s.addFile(c.Flags())
	s.addLane(c, "the lane")
	c.Flags().Var(daemon.NewValue("WHEN", "", func(v string) (err error) {
		if what = (agent.Purge{}); what.Before.UnmarshalText([]byte(v)) == nil {
			if what.Before.Number == 0 {
				err = errors.New("numbers begin with 1")
			}
			return err
		}
		if what.Older, err = config.ParseTime(v, time.Now()); err != nil {
			err = fmt.Errorf("%w, or a number, as in 4711", err)
		}
		return err
	}), "before", "only what was made before a time, or how long ago, as in 72h; or what is\nbefore a number, as in 4711 (default all)")
	c.Flags().BoolVar(&yes, "yes", false, "do it: there is no way back")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	s.log = daemon.AddLogFlags(c.Flags())
	return c
}

// purgeRequest asks the daemon to purge a lane, or what a purge would take.
type purgeRequest struct {
	Lane  string      `json:"lane"`
	Purge agent.Purge `json:"purge"`
	Yes   bool        `json:"yes"`
}

// purgeAnswer is what was dropped, and, if that is not all, why.
type purgeAnswer struct {
	Purged agent.Purged     `json:"purged"`
	Failed *control.Refusal `json:"failed,omitempty"`
}

// addPurge defines how the daemon purges a lane.
func addPurge(mux *http.ServeMux, a *agent.Agent) {
	mux.Handle("POST /purge", control.Handle(func(ctx context.Context, r purgeRequest) (purgeAnswer, error) {
		do := a.Purgeable
		if r.Yes {
			do = a.Purge
		}
		p, err := do(ctx, r.Lane, r.Purge)
		var no *control.Refusal
		if err = refusal(err); p.Messages == 0 || err == nil {
			return purgeAnswer{Purged: p}, err
		}
		if !errors.As(err, &no) {
			no = &control.Refusal{Code: control.CodeFailed, Message: err.Error()}
		}
		return purgeAnswer{p, no}, nil
	}))
}

// purge purges a lane, or says what that would take: through the daemon that has the
// folder, or in the folder. Its error has the exit code.
func purge(ctx context.Context, c config.Agent, r purgeRequest) (agent.Purged, error) {
	ask := func() (agent.Purged, error) {
		var answer purgeAnswer
		err := control.Call(ctx, c.Dir, http.MethodPost, "/purge", r, &answer)
		if err == nil && answer.Failed != nil {
			err = answer.Failed
		}
		return answer.Purged, err
	}
	if !r.Yes {
		return askOrRead(c.Dir, ask, func() (agent.Purged, error) { return agent.ReadPurgeable(ctx, c.Dir, r.Lane, r.Purge) })
	}
	p, err := ask()
	if !errors.Is(err, control.ErrNotRunning) {
		return p, refused(err)
	}
	a, err := openAtRest(ctx, c, r.Lane)
	if err != nil {
		return p, err
	}
	p, err = a.Purge(ctx, r.Lane, r.Purge)
	return p, withCode(errors.Join(err, a.Close()))
}

// printPurged says what was dropped, or would be.
func printPurged(w io.Writer, r purgeRequest, p agent.Purged, asJSON bool) error {
	if asJSON {
		p.Streams = append([]agent.PurgedStream{}, p.Streams...) // a list, also if it is empty
		return daemon.PrintJSON(w, struct {
			Lane string `json:"lane"`
			Done bool   `json:"done"`
			agent.Purged
		}{r.Lane, r.Yes, p})
	}
	verb := "would be dropped"
	if r.Yes {
		verb = "are dropped"
	}
	text := fmt.Sprintf("%d messages of lane %s %s", p.Messages, r.Lane, verb)
	for i, s := range p.Streams {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += fmt.Sprintf("%s%d between %s and %d", sep, s.Messages, agent.MessageID{Stream: s.Number, Number: s.From}, s.To)
	}
	text += "\n"
	if p.Kept > 0 {
		text += fmt.Sprintf("%d stay, because they are in batches that go on beyond the bound\n", p.Kept)
	}
	if p.Unread > 0 {
		text += fmt.Sprintf("%d stay, because their age cannot be read\n", p.Unread)
	}
	if !r.Yes && p.Messages > 0 {
		text += "nothing was done: export them first, or add --yes\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// openAtRest opens the agent of a folder to change a lane that is there; it has no
// link. Its error has the exit code.
func openAtRest(ctx context.Context, c config.Agent, lane string) (*agent.Agent, error) {
	// Opening would make a folder where there is none, and a lane.
	_, lanes, err := agent.ReadLanes(c.Dir)
	if err == nil && !slices.Contains(lanes, lane) {
		err = fmt.Errorf("%w %q", agent.ErrUnknownLane, lane)
	}
	if err != nil {
		return nil, withCode(err)
	}
	c.Collectors = nil
	a, err := agent.Open(ctx, library(c, daemon.Logger(os.Stderr, quiet(c.Log))))
	return a, withCode(err)
}
