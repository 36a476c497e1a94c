package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func agentsCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "agents [ID]",
		Short: "Show every agent, whether it is alive, and what it has not delivered yet",
		Long: `Shows all agents that the collector of a folder has ever heard of. If the collector
runs, it is asked; if it does not, what its journal knows is shown, and every agent
is offline or has said goodbye.

The state is one of online, late (one heartbeat missed), offline (two missed),
goodbye (it said that it leaves), unknown (the collector has only just started).

Beside it stands what happened to the agent's folder, its id or the store within a
day: rolled back, memory went back, duplicate identity, store behind, new folder.
With an ID all that the store knows of this agent's past is shown: its streams, which
was forked from which and where, every incident and what to do about it, and what
operators have accepted.

--json prints a list of objects: id, state, since, cause, address, connected, seen,
rtt_seconds, session, backlog, backlog_bytes, oldest_age_seconds, contested, software,
host {name, os, arch}, incidents [{kind, first, last, count, lane, epoch, origin,
from, to, detail}]. What does not apply is left out. Times are RFC 3339, durations
seconds; contested is when another process took the agent's id while it was alive.
The kinds are rolled-back, relabelled, duplicate-identity, store-behind, other-store,
new-folder and came-back. With an ID it prints one object: agent, streams [{lane, epoch, base,
w, next, current, openings, stored, may_be_doubled, tombstoned {reason: count}}],
incidents, noted, closings [{time, by, reason, ranges [{claim, lane, epoch,
incarnation, from, to}]}] and, of one that was given up, forgotten {time, by, reason,
given_up}.`,
		Example: `  collector agents
  collector agents pump-7
  collector agents --dir /var/lib/fieldpost --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				id, err := wire.ParseAgentID(args[0])
				if err != nil {
					return daemon.WithCode(daemon.Usage, err)
				}
				return showPast(cmd.Context(), cmd.OutOrStdout(), c.Dir, id, asJSON)
			}
			list, running, err := agents(cmd.Context(), c.Dir)
			if err != nil {
				return withCode(err)
			}
			past, err := pastOf(cmd.Context(), c.Dir)
			if err != nil {
				return withCode(err)
			}
			if asJSON {
				return daemon.PrintJSON(cmd.OutOrStdout(), views(list, past))
			}
			if !running {
				fmt.Fprintln(cmd.ErrOrStderr(), "the collector is not running; this is what its journal knows")
			}
			return printAgents(cmd.OutOrStdout(), list, past, time.Now())
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(agentsRevokeCommand(), agentsForgetCommand())
	return c
}

// agents asks the collector that has dir, or else the journal there; running
// says which.
func agents(ctx context.Context, dir string) (list []collector.AgentStatus, running bool, err error) {
	ask, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = control.Call(ask, dir, http.MethodGet, "/agents", nil, &list)
	if !errors.Is(err, control.ErrNotRunning) {
		return list, true, err
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		return nil, false, err
	}
	known, err := r.Agents(ctx)
	for i := range known {
		list = append(list, atRest(&known[i]))
	}
	return list, false, err
}

// pastOf returns the past of all agents.
func pastOf(ctx context.Context, dir string) (map[wire.AgentID]*journal.Past, error) {
	list, err := pasts(ctx, dir, "")
	m := make(map[wire.AgentID]*journal.Past, len(list))
	for i := range list {
		m[list[i].Agent] = &list[i]
	}
	return m, err
}

// atRest is the status of an agent whose collector does not run.
func atRest(k *collector.Known) collector.AgentStatus {
	st := collector.AgentStatus{
		ID: k.Agent, State: heartbeat.Offline, Since: k.Seen, Cause: "the collector is not running",
		Address: k.Address, Seen: k.Seen, Backlog: k.Backlog, Software: k.Software, Host: k.Host,
	}
	if p := k.Parting; p != nil {
		st.Since, st.Cause = p.Time, p.Reason
		if p.Goodbye {
			st.State = heartbeat.Goodbye
		}
	}
	return st
}

// view is an agent's status as this command's JSON.
type view struct {
	ID           wire.AgentID    `json:"id"`
	State        heartbeat.State `json:"state"`
	Since        time.Time       `json:"since,omitzero"`
	Cause        string          `json:"cause"`
	Address      string          `json:"address,omitempty"`
	Connected    time.Time       `json:"connected,omitzero"`
	Seen         time.Time       `json:"seen,omitzero"`
	RTT          float64         `json:"rtt_seconds,omitempty"`
	Session      uint64          `json:"session,omitempty"`
	Backlog      uint64          `json:"backlog"`
	BacklogBytes uint64          `json:"backlog_bytes"`
	OldestAge    float64         `json:"oldest_age_seconds,omitempty"`
	Contested    time.Time       `json:"contested,omitzero"`
	Software     string          `json:"software,omitempty"`
	Host         wire.Host       `json:"host"`

	Incidents []ledger.Incident `json:"incidents,omitempty"`
}

func views(list []collector.AgentStatus, past map[wire.AgentID]*journal.Past) []view {
	out := make([]view, len(list))
	for i, a := range list {
		out[i] = view{
			a.ID, a.State, a.Since, a.Cause, a.Address, a.Connected, a.Seen, a.RTT.Seconds(), a.Session,
			a.Backlog, a.BacklogBytes, a.OldestAge.Seconds(), a.Contested, a.Software, a.Host, nil,
		}
		if p := past[a.ID]; p != nil {
			out[i].Incidents = p.Incidents
		}
	}
	return out
}

// printAgents writes list for people.
func printAgents(w io.Writer, list []collector.AgentStatus, past map[wire.AgentID]*journal.Past, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no agent has been heard of yet")
		return err
	}
	var b strings.Builder
	var told []wire.AgentID
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AGENT\tSTATE\tSINCE\tSEEN\tRTT\tBACKLOG\tBYTES\tOLDEST\tADDRESS\tCONNECTED\tVERSION\tCAUSE\tNOTES")
	for _, a := range list {
		rtt, oldest, connected := "-", "-", "-"
		if a.RTT > 0 {
			rtt = a.RTT.Round(10 * time.Microsecond).String()
		}
		if a.OldestAge > 0 {
			oldest = span(a.OldestAge)
		}
		if !a.Connected.IsZero() {
			connected = a.Connected.Format(time.DateTime)
		}
		note := ""
		if p := past[a.ID]; p != nil {
			note = notes(p, now)
		}
		if !a.Contested.IsZero() && now.Sub(a.Contested) < time.Hour && !strings.Contains(note, "duplicate") {
			note = strings.TrimSuffix("another process took over its id "+before(now, a.Contested)+", "+note, ", ")
		}
		if note != "" {
			told = append(told, a.ID)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.State, before(now, a.Since), before(now, a.Seen), rtt,
			a.Backlog, config.Approximate(a.BacklogBytes), oldest, dash(a.Address), connected, dash(shown(a.Software)), dash(shown(a.Cause)), dash(note))
	}
	t.Flush()
	if len(told) > 0 {
		fmt.Fprintf(&b, "what happened, and what to do: collector agents %s\n", told[0])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// shown returns what came from an agent as a terminal may show it.
func shown(s string) string { return config.Printable(s) }

func before(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t)) + " ago"
}

// span prints a span of time to the second.
func span(d time.Duration) string {
	return config.Duration(max(0, d).Round(time.Second)).String()
}
