package main

import (
	"context"
	"encoding/json"
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
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/wire"
)

func agentsCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "agents",
		Short: "Show every agent, whether it is alive, and what it has not delivered yet",
		Long: `Shows all agents that the collector of a folder has ever heard of. If the collector
runs, it is asked; if it does not, what its journal knows is shown, and every agent
is offline or has said goodbye.

The state is one of online, late (one heartbeat missed), offline (two missed),
goodbye (it said that it leaves), unknown (the collector has only just started).

--json prints a list of objects: id, state, since, cause, address, connected, seen,
rtt_seconds, session, backlog, backlog_bytes, oldest_age_seconds, software, host
{name, os, arch}. What does not apply is left out. Times are RFC 3339, durations
seconds.`,
		Example: `  collector agents
  collector agents --dir /var/lib/fieldpost --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			list, running, err := agents(cmd.Context(), c.Dir)
			if err != nil {
				return withCode(err)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(views(list))
			}
			if !running {
				fmt.Fprintln(cmd.ErrOrStderr(), "the collector is not running; this is what its journal knows")
			}
			return printAgents(cmd.OutOrStdout(), list, time.Now())
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
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
	Software     string          `json:"software,omitempty"`
	Host         wire.Host       `json:"host"`
}

func views(list []collector.AgentStatus) []view {
	out := make([]view, len(list))
	for i, a := range list {
		out[i] = view{
			a.ID, a.State, a.Since, a.Cause, a.Address, a.Connected, a.Seen, a.RTT.Seconds(), a.Session,
			a.Backlog, a.BacklogBytes, a.OldestAge.Seconds(), a.Software, a.Host,
		}
	}
	return out
}

// printAgents writes list for people.
func printAgents(w io.Writer, list []collector.AgentStatus, now time.Time) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no agent has been heard of yet")
		return err
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AGENT\tSTATE\tSINCE\tSEEN\tRTT\tBACKLOG\tBYTES\tOLDEST\tADDRESS\tCONNECTED\tVERSION\tCAUSE")
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
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", a.ID, a.State, before(now, a.Since), before(now, a.Seen), rtt,
			a.Backlog, config.Approximate(a.BacklogBytes), oldest, dash(a.Address), connected, dash(shown(a.Software)), dash(shown(a.Cause)))
	}
	t.Flush()
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
