package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// recent is how long an incident stands beside its agent.
const recent = 24 * time.Hour

// pasts asks the collector that has dir for the past of an agent, of all if id is
// "", or else reads the journal there.
func pasts(ctx context.Context, dir string, id wire.AgentID) (list []journal.Past, err error) {
	ask, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err = control.Call(ask, dir, http.MethodGet, "/agents/past?id="+url.QueryEscape(string(id)), nil, &list)
	if !errors.Is(err, control.ErrNotRunning) {
		return list, err
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		return nil, err
	}
	return r.Pasts(ctx, id)
}

// notes says of an agent's past what an operator should know now.
func notes(p *journal.Past, now time.Time) string {
	var list []string
	seen := map[ledger.IncidentKind]bool{}
	for i := len(p.Incidents) - 1; i >= 0; i-- {
		n := &p.Incidents[i]
		if seen[n.Kind] || n.Kind == ledger.IncidentOtherStore || now.Sub(n.Last) > recent {
			continue
		}
		seen[n.Kind] = true
		list = append(list, fmt.Sprintf("%s %s", shortName(n.Kind), before(now, n.Last)))
	}
	return strings.Join(list, ", ")
}

// shortName is a kind in words.
func shortName(k ledger.IncidentKind) string {
	if k == ledger.IncidentRelabelled {
		return "memory went back"
	}
	return strings.ReplaceAll(k.String(), "-", " ")
}

// incidentLine says all about an incident in a line.
func incidentLine(n *ledger.Incident) string {
	var b strings.Builder
	b.WriteString(times(n.First, n.Last) + " " + n.Kind.What())
	if n.Lane != "" {
		fmt.Fprintf(&b, "; lane %s, epoch %s", n.Lane, epochName(n.Epoch))
	}
	switch {
	case n.Kind == ledger.IncidentRolledBack:
		fmt.Fprintf(&b, ", common up to %d", n.From-1)
		if !n.Origin.IsZero() {
			fmt.Fprintf(&b, " with epoch %s", epochName(n.Origin))
		}
		if n.To > 0 {
			fmt.Fprintf(&b, ", %s go on", between(n.From, n.To))
		}
	case n.To > 0:
		fmt.Fprintf(&b, ", numbers %s", between(n.From, n.To))
	}
	if n.Detail != "" {
		fmt.Fprintf(&b, "; %s", shown(n.Detail))
	}
	if n.Count > 1 {
		fmt.Fprintf(&b, " (%d times)", n.Count)
	}
	return b.String()
}

// printPast writes what is known of an agent's past for people.
func printPast(w io.Writer, p *journal.Past) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LANE\tEPOCH\tNUMBERS\tANNOUNCED\tSTORED\tTOMBSTONED\tMAY BE DOUBLED\tOPENINGS\tNOW")
	for i := range p.Streams {
		s := &p.Streams[i]
		now := "-"
		if s.Current {
			now = "with the agent"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%d\t%s\n", s.Lane, epochName(s.Epoch), between(s.Base+1, s.W), s.Next-1, s.Stored, tombstones(s.Tombstoned), s.MayDouble, s.Openings, now)
	}
	t.Flush()
	b.WriteString("\n")
	if len(p.Incidents) == 0 {
		b.WriteString("nothing has happened to its folder and its id that the collector noticed\n")
	}
	nexts := map[ledger.IncidentKind]bool{}
	for i := range p.Incidents {
		fmt.Fprintf(&b, "%s\n", incidentLine(&p.Incidents[i]))
		nexts[p.Incidents[i].Kind] = true
	}
	if n := p.Noted; n > 0 && len(p.Incidents) == ledger.MaxIncidents {
		fmt.Fprintf(&b, "these are the newest %d; there have been %d, repetitions included\n", len(p.Incidents), n)
	}
	for k := ledger.IncidentRolledBack; k <= ledger.IncidentCameBack; k++ {
		if nexts[k] {
			fmt.Fprintf(&b, "next, %s: %s\n", shortName(k), k.Next())
		}
	}
	if f := p.Forgotten; f != nil {
		fmt.Fprintf(&b, "forgotten at %s by %s%s; %d messages that it had announced were given up\n", moment(f.Time), shown(f.By), because(f.Reason), f.GivenUp)
	}
	for _, c := range p.Closings {
		fmt.Fprintf(&b, "closed at %s by %s: %s\n", moment(c.Time), shown(c.By), shown(c.Reason))
		for _, r := range c.Ranges {
			fmt.Fprintf(&b, "  lane %s: %s, %s\n", r.Lane, between(r.From, r.To), r.Claim)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// showPast is "collector agents ID".
func showPast(ctx context.Context, w io.Writer, dir string, id wire.AgentID, asJSON bool) error {
	list, err := pasts(ctx, dir, id)
	if err != nil {
		return withCode(err)
	}
	if len(list) == 0 {
		return fmt.Errorf("no agent %s has been heard of; collector agents lists all", id)
	}
	if asJSON {
		return daemon.PrintJSON(w, &list[0])
	}
	return printPast(w, &list[0])
}
