package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func repairCommand() *cobra.Command {
	var s settings
	var yes bool
	var file string
	var first, last uint64
	c := &cobra.Command{
		Use:   "repair",
		Short: "Do now what the agent does when it meets damage",
		Long: `Reads everything in a lane, or in all, that no collector has acked. Segment files of a
wrong name get their own again; damaged ones are searched for what is left, and copies of
them are kept in the lane's folder quarantine; what is lost gets a tombstone with the
reason "corrupt", and the collector hears of it. What a missing file held is settled only
once the agent has a link, because the collector may have it. The agent does all this by
itself as it meets damage; repair does it now.

--reenter FILE puts the messages that are whole in a file of a lane's quarantine into the
lane once more, as new messages. The agent cannot know which of them were delivered:
those are stored twice then. --first and --last take only some of their numbers.

Without --yes nothing is done: it only says what is damaged, or what would be re-entered
from where. On a folder whose agent runs, the agent does it and goes on; else the command
does it in the folder.

It exits 0 if it is done (or, without --yes, if nothing is damaged), 1 if not all could
be done, or something is damaged and --yes was not given; 2 if it is called in the wrong
way; 69 if a daemon has the folder and does not answer; 75 if another program has the
folder or the disk takes nothing; 76 if it may or may not have been done; 78 if there is
no such lane.`,
		Example: `  agent queue repair --dir ./pump-7
  agent queue repair --dir ./pump-7 --yes
  agent queue repair --dir ./pump-7 --lane alarms --reenter 0000000003-00000000000000000100.seg --yes`,
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
			if file != "" {
				if s.given.lane == "" {
					return daemon.WithCode(daemon.Usage, errors.New("name the lane with --lane"))
				}
				return reenter(cmd.Context(), cmd.OutOrStdout(), c, reenterRequest{s.given.lane, file, wire.Seq(first), wire.Seq(last)}, yes)
			}
			if !yes {
				return wouldRepair(cmd.Context(), cmd.OutOrStdout(), f)
			}
			for _, lane := range f.lanes {
				r, err := repair(cmd.Context(), c, lane)
				if err != nil {
					return err
				}
				if err := printRepaired(cmd.OutOrStdout(), lane, r); err != nil {
					return err
				}
			}
			return nil
		},
	}
	s.addFile(c.Flags())
	s.addInsecure(c.Flags())
	s.addLane(c, "only this lane")
	c.Flags().StringVar(&file, "reenter", "", "put the messages of this `FILE` of the lane's quarantine into the lane once more")
	c.Flags().Uint64Var(&first, "first", 0, "of --reenter: only numbers from this one on")
	c.Flags().Uint64Var(&last, "last", 0, "of --reenter: only numbers up to this one")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	s.log = daemon.AddLogFlags(c.Flags())
	return c
}

// wouldRepair says what is damaged.
func wouldRepair(ctx context.Context, w io.Writer, f folder) error {
	damaged, lost := 0, uint64(0)
	for _, lane := range f.lanes {
		v, err := agent.Verify(ctx, f.dir, f.agent, lane, nil)
		if err != nil {
			return withCode(err)
		}
		for _, x := range v.Findings {
			if x.Note {
				continue
			}
			damaged++
			if x.From > 0 {
				lost += uint64(x.To - x.From + 1)
			}
			fmt.Fprintf(w, "lane %s, %s: %s\n", lane, x.File, config.Printable(x.What))
		}
	}
	if damaged == 0 {
		_, err := fmt.Fprintln(w, "nothing is damaged")
		return err
	}
	return fmt.Errorf("nothing was done: with --yes these files are searched for what is left, copies are kept in quarantine, and tombstones stand for what cannot be found of at most %d numbers", lost)
}

// laneOnly names a lane.
type laneOnly struct {
	Lane string `json:"lane"`
}

// reenterRequest asks the daemon to re-enter messages from quarantine.
type reenterRequest struct {
	Lane  string   `json:"lane"`
	File  string   `json:"file"`
	First wire.Seq `json:"first,omitempty"`
	Last  wire.Seq `json:"last,omitempty"`
}

// reentered is how many were put, and, if that is not all, why.
type reentered struct {
	Messages int              `json:"messages"`
	Failed   *control.Refusal `json:"failed,omitempty"`
}

// addRepair defines how the daemon repairs a lane.
func addRepair(mux *http.ServeMux, a *agent.Agent) {
	mux.Handle("POST /repair", control.Handle(func(ctx context.Context, r laneOnly) (agent.Repaired, error) {
		done, err := a.Repair(ctx, r.Lane)
		return done, refusal(err)
	}))
	mux.Handle("POST /repair/reenter", control.Handle(func(ctx context.Context, r reenterRequest) (reentered, error) {
		n, err := a.Reenter(ctx, r.Lane, r.File, r.First, r.Last)
		if err = refusal(err); err == nil || n == 0 {
			return reentered{Messages: n}, err
		}
		var no *control.Refusal
		if !errors.As(err, &no) {
			no = &control.Refusal{Code: control.CodeFailed, Message: err.Error()}
		}
		return reentered{n, no}, nil
	}))
}

// repair repairs a lane: through the daemon that has the folder, or in the folder.
// Its error has the exit code.
func repair(ctx context.Context, c config.Agent, lane string) (r agent.Repaired, err error) {
	err = control.Call(ctx, c.Dir, http.MethodPost, "/repair", laneOnly{lane}, &r)
	if !errors.Is(err, control.ErrNotRunning) {
		return r, refused(err)
	}
	a, err := openAtRest(ctx, c, lane)
	if err != nil {
		return r, err
	}
	r, err = a.Repair(ctx, lane)
	return r, withCode(errors.Join(err, a.Close()))
}

func printRepaired(w io.Writer, lane string, r agent.Repaired) error {
	_, err := fmt.Fprintf(w, "lane %s: %d numbers read, %d got a tombstone, %d wait for the collector's word; %d damaged files are in quarantine\n", lane, r.Read, r.Dropped, r.Waiting, r.Kept)
	return err
}

// reenter puts messages from quarantine into their lane once more.
func reenter(ctx context.Context, w io.Writer, c config.Agent, r reenterRequest, yes bool) error {
	if !yes {
		return daemon.WithCode(daemon.Usage, fmt.Errorf("the messages that are whole in %s would go into lane %s once more; what of it was delivered would be stored twice: add --yes", r.File, r.Lane))
	}
	var done reentered
	err := control.Call(ctx, c.Dir, http.MethodPost, "/repair/reenter", r, &done)
	if err == nil && done.Failed != nil {
		err = done.Failed
	}
	if errors.Is(err, control.ErrNotRunning) {
		var a *agent.Agent
		if a, err = openAtRest(ctx, c, r.Lane); err != nil {
			return err
		}
		done.Messages, err = a.Reenter(ctx, r.Lane, r.File, r.First, r.Last)
		err = withCode(errors.Join(err, a.Close()))
	} else {
		err = refused(err)
	}
	if done.Messages > 0 || err == nil {
		_, perr := fmt.Fprintf(w, "lane %s: %d messages of %s are in the lane once more\n", r.Lane, done.Messages, r.File)
		err = errors.Join(err, perr)
	}
	return err
}
