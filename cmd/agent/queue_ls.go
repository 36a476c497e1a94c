package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func listCommand() *cobra.Command {
	var s settings
	var asJSON, files bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the lanes with what is in them",
		Long: `Lists all lanes, or one: their state, the oldest number on disk, the largest that is
acked, the next one, what waits without an ack, and how old the oldest message of it
is. Below the table stands what is unusual: why a lane is full, what was dropped, dead
letters, damage. --segments adds the files, the tombstones, and what is in quarantine.
A lane that has gone live first has a line for each of its streams, in the order in
which they take turns.

The state is accepting; full (the lane's limits have no room); failing (the disk takes
nothing, or has too little free); stopped (the store refused too much in a row);
draining or drained (the lane is not in the configuration); at-rest (no agent runs).

A range of numbers is dropped by its tombstone, which travels in its place. What was on
its way by then may be stored all the same: its tombstone is "void", and is not counted.

It works on a folder whose agent runs, and on one whose agent does not, and changes
nothing there, whatever is wrong with it.

--json prints one object: agent, dir, running and lanes [{lane, state, why, status (as in
"agent status --json"), streams [{stream, epoch, oldest, next, acked, accepted, backlog,
backlog_bytes, oldest_time, oldest_age_seconds, acks [{store, upto}], dropped [{reason,
numbers, void, pending, ranges, from, to, time}], tombstones [{from, to, reason, time,
detail, acked, void}], dead_letters, segments [{name, first, last, bytes, held, made,
tail, damage}], quarantine [{name, bytes, time}]}], damage [text]}]. Of a stream's
tombstones the oldest 1,000 are listed.

It exits 1 if a lane is damaged or the folder is no agent's, 2 if it is called in the
wrong way, 69 if a daemon has the folder and does not answer, 75 if another program has
it, 78 if there is no such lane.`,
		Example: `  agent queue ls --dir ./pump-7
  agent queue ls --dir ./pump-7 --lane alarms --segments
  agent queue ls --dir ./pump-7 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			list, err := contents(cmd.Context(), c.Dir, s.given.lane)
			if list.Lanes == nil {
				return err
			}
			if asJSON {
				return errors.Join(daemon.PrintJSON(cmd.OutOrStdout(), list), err, list.damage())
			}
			return errors.Join(printContents(cmd.OutOrStdout(), list, files), err, list.damage())
		},
	}
	s.addFile(c.Flags())
	s.addLane(c, "only this lane")
	c.Flags().BoolVarP(&files, "segments", "v", false, "also the files, the tombstones and the quarantine of each lane")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// laneList is what "queue ls --json" prints.
type laneList struct {
	Agent   string               `json:"agent"`
	Dir     string               `json:"dir"`
	Running bool                 `json:"running"`
	Lanes   []agent.LaneContents `json:"lanes"`
}

// laneRequest asks the daemon about a lane.
type laneRequest struct {
	Lane string `json:"lane"`
}

// addContents defines how the daemon tells what lies in a lane.
func addContents(mux *http.ServeMux, a *agent.Agent) {
	mux.Handle("POST /contents", control.Handle(func(_ context.Context, r laneRequest) (agent.LaneContents, error) {
		c, err := a.Contents(r.Lane)
		return c, refusal(err)
	}))
}

// contents returns what lies in the lanes: the one that is named, else all. Its
// error has the exit code; lanes that can be told about are in the list all the same.
func contents(ctx context.Context, dir, lane string) (laneList, error) {
	f, err := lookAt(ctx, dir, lane)
	if err != nil {
		return laneList{}, err
	}
	list := laneList{Agent: f.agent, Dir: dir, Running: f.running}
	var errs []error
	for _, name := range f.lanes {
		l, err := laneContents(ctx, dir, name)
		if err == nil {
			list.Lanes = append(list.Lanes, l)
		}
		errs = append(errs, err)
	}
	if f.agent == "" {
		errs = append(errs, fmt.Errorf(`%s: the file agent.json is missing or damaged; restore it, it has {"format":1,"agent":"ID"}`, dir))
	}
	return list, errors.Join(errs...)
}

func laneContents(ctx context.Context, dir, lane string) (agent.LaneContents, error) {
	return askOrRead(dir, func() (l agent.LaneContents, err error) {
		within, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("nothing within a minute"))
		defer cancel()
		return l, control.Call(within, dir, http.MethodPost, "/contents", laneRequest{lane}, &l)
	}, func() (agent.LaneContents, error) { return agent.ReadContents(dir, lane) })
}

// damage is an error if any lane is damaged.
func (l *laneList) damage() error {
	var lanes []string
	for _, c := range l.Lanes {
		if len(c.Damage) > 0 {
			lanes = append(lanes, c.Lane)
		}
	}
	if lanes == nil {
		return nil
	}
	return daemon.WithCode(daemon.No, fmt.Errorf("damaged: lane %s", strings.Join(lanes, ", ")))
}

// printContents writes the list for people.
func printContents(w io.Writer, list laneList, files bool) error {
	var b strings.Builder
	whose := config.Printable(list.Agent)
	if whose == "" {
		whose = "unknown: the folder does not say whose it is"
	}
	runs := "no agent runs"
	if list.Running {
		runs = "an agent runs"
	}
	fmt.Fprintf(&b, "agent  %s\nfolder %s (%s)\n\n", whose, list.Dir, runs)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "lane\tstate\toldest\tacked\tnext\tbacklog\tbytes\tage\t")
	for i := range list.Lanes {
		l := &list.Lanes[i]
		for k := range l.Streams {
			s := &l.Streams[k]
			name, state := l.Lane, l.State
			if len(l.Streams) > 1 {
				name = fmt.Sprintf("%s/%d", l.Lane, s.Number)
				if k < len(l.Streams)-1 {
					state = "backlog"
				}
			}
			age := "-"
			if !s.OldestTime.IsZero() {
				age = ago(time.Duration(s.OldestAge))
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t\n", name, state, s.Oldest, s.Acked, s.Next, s.Backlog, config.Approximate(s.BacklogBytes), age)
		}
		if len(l.Streams) == 0 {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t-\t-\t-\t\n", l.Lane, l.State)
		}
	}
	t.Flush()
	for i := range list.Lanes {
		for _, note := range contentNotes(&list.Lanes[i]) {
			fmt.Fprintf(&b, "lane %s: %s\n", list.Lanes[i].Lane, note)
		}
	}
	if files {
		for i := range list.Lanes {
			for k := range list.Lanes[i].Streams {
				printFiles(&b, list.Lanes[i].Lane, &list.Lanes[i].Streams[k])
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// contentNotes says what is unusual about a lane.
func contentNotes(l *agent.LaneContents) (notes []string) {
	if l.Why != "" {
		notes = append(notes, config.Printable(l.Why))
	}
	for _, d := range l.Damage {
		notes = append(notes, "damage: "+config.Printable(d))
	}
	for k := range l.Streams {
		s := &l.Streams[k]
		of := ""
		if len(l.Streams) > 1 {
			of = fmt.Sprintf("stream %d: ", s.Number)
		}
		for _, d := range s.Dropped {
			text := fmt.Sprintf("%s%d dropped, %s, between %d and %d", of, d.Numbers+d.Void, d.Reason, d.From, d.To)
			if d.Pending > 0 {
				text += fmt.Sprintf("; the store has not heard of %d", d.Pending)
			}
			if d.Void > 0 {
				text += fmt.Sprintf("; %d of them had got to the store before, and are stored", d.Void)
			}
			notes = append(notes, text)
		}
		if n := len(s.Quarantine); n > 0 {
			notes = append(notes, fmt.Sprintf("%s%d damaged files, of which a copy is in the folder quarantine", of, n))
		}
	}
	if n := l.Status.LettersKept; n > 0 {
		notes = append(notes, fmt.Sprintf(`%d dead letters; see "agent queue dead ls"`, n))
	}
	return notes
}

// printFiles writes what is in a stream's folder.
func printFiles(b *strings.Builder, lane string, s *agent.StreamContents) {
	fmt.Fprintf(b, "\nlane %s, stream %d, epoch %s\n", lane, s.Number, s.Epoch)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "segment\tnumbers\tbytes\theld\t")
	for _, f := range s.Segments {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t\n", f.Name, numbers(f.First, f.Last), config.Approximate(uint64(f.Bytes)), f.Held)
	}
	t.Flush()
	if len(s.Tombstones) > 0 {
		fmt.Fprintln(t, "\ndropped\tnumbers\twhy\twhen\tledger\t")
		for _, d := range s.Tombstones {
			ledger := "to be told"
			switch {
			case d.Void:
				ledger = "void"
			case d.Acked:
				ledger = "told"
			}
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t\n", numbers(d.From, d.To), d.To-d.From+1, d.Reason, d.Time.UTC().Format(time.RFC3339), ledger)
		}
		t.Flush()
	}
	if len(s.Quarantine) > 0 {
		fmt.Fprintln(t, "\nin quarantine\tbytes\t")
		for _, q := range s.Quarantine {
			fmt.Fprintf(t, "%s\t%s\t\n", config.Printable(q.Name), config.Approximate(uint64(q.Bytes)))
		}
		t.Flush()
	}
}

// numbers prints a range.
func numbers(from, to wire.Seq) string {
	switch {
	case to < from:
		return "none"
	case to == from:
		return strconv.FormatUint(uint64(from), 10)
	}
	return fmt.Sprintf("%d-%d", from, to)
}
