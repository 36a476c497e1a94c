package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func agentsForgetCommand() *cobra.Command {
	var s settings
	var reason, by string
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "forget ID",
		Short: "Give up an agent that is gone for good",
		Long: `Drops an agent whose machine is gone: it is in no list, count and metric any more, its
certificates are revoked, and a link that it has ends within five seconds. Messages
that it has announced and not delivered are given up. What it has delivered stays
until retention removes it, and audit tells who has forgotten the agent, when, why,
and how many messages were given up; it does not fail for that.

As long as messages of the agent are stored, the store goes on knowing how far its
streams go, and no more: about a hundred bytes each. So an agent that comes back
(after a mistake, with a new enrolment) goes on where it was, and nothing is stored
twice. A year later, once retention has removed its last message, nothing is left.

Without --yes it only says what it would give up. It exits 1 if there is no such
agent.

--json prints one object: agent, by, reason, done (false without --yes), streams,
stored and given_up (numbers).`,
		Example: `  collector agents forget pump-7
  collector agents forget pump-7 --reason "scrapped in May" --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			id, err := wire.ParseAgentID(args[0])
			if err == nil && len(reason) > ledger.MaxCloseText {
				err = fmt.Errorf("a reason of %d bytes: at most %d", len(reason), ledger.MaxCloseText)
			}
			if err != nil {
				return daemon.WithCode(daemon.Usage, err)
			}
			if by == "" {
				by = whoami()
			}
			out, err := toForget(cmd.Context(), c.Dir, id)
			if err != nil {
				return err
			}
			out.By, out.Reason = by, reason
			if yes {
				if err := forget(cmd.Context(), &c, &forgetRequest{Agent: id, By: by, Reason: reason}); err != nil {
					return withCode(err)
				}
				out.Done = true
			}
			return printForgotten(cmd.OutOrStdout(), out, c.Plaintext, asJSON)
		},
	}
	s.addFile(c.Flags())
	c.Flags().StringVar(&reason, "reason", "", "why; `TEXT` that the next operator understands")
	c.Flags().StringVar(&by, "by", "", "who forgets it (default: the user who runs this command); `NAME`")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// forgetResult is what the command prints.
type forgetResult struct {
	Agent   wire.AgentID `json:"agent"`
	By      string       `json:"by"`
	Reason  string       `json:"reason,omitempty"`
	Done    bool         `json:"done"`
	Streams int          `json:"streams"`
	Stored  uint64       `json:"stored"`
	GivenUp uint64       `json:"given_up"`
}

// toForget says what would be forgotten.
func toForget(ctx context.Context, dir string, id wire.AgentID) (*forgetResult, error) {
	list, err := pasts(ctx, dir, id)
	if err != nil {
		return nil, withCode(err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no agent %s has been heard of; collector agents lists all", id)
	}
	p := &list[0]
	if f := p.Forgotten; f != nil {
		return nil, fmt.Errorf("agent %s is forgotten already, by %s at %s", id, shown(f.By), moment(f.Time))
	}
	out := &forgetResult{Agent: id, Streams: len(p.Streams)}
	for i := range p.Streams {
		out.Stored += p.Streams[i].Stored
	}
	known, _, err := agents(ctx, dir)
	for i := range known {
		if known[i].ID == id {
			out.GivenUp = known[i].Backlog
		}
	}
	return out, withCode(err)
}

// forgetRequest asks a collector to forget an agent.
type forgetRequest struct {
	Agent  wire.AgentID `json:"agent"`
	By     string       `json:"by"`
	Reason string       `json:"reason,omitempty"`
}

func (r *forgetRequest) event() ledger.Forgotten {
	return ledger.Forgotten{Time: time.Now(), By: r.By, Reason: r.Reason}
}

// forget has the collector that has the folder forget an agent, or does so in the
// folder.
func forget(ctx context.Context, c *config.Collector, r *forgetRequest) error {
	ask, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := control.Call(ask, c.Dir, http.MethodPost, "/agents/forget", r, nil)
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	if !c.Plaintext {
		revoked, err := enroll.OpenRevocations(c.Dir)
		if err == nil {
			err = revoked.Revoke(ctx, r.Agent)
		}
		if err != nil {
			return err
		}
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	j, err := journal.Open(journal.Options{Dir: c.Dir, Logger: quiet})
	if err != nil {
		return err
	}
	return errors.Join(j.Forget(ctx, r.Agent, r.event()), j.Close())
}

// forgetAlive forgets an agent in a running collector. First its certificates are
// revoked, so that it is not back before it is forgotten.
func forgetAlive(ctx context.Context, srv *collector.Server, j *journal.Journal, sec *security, r *forgetRequest) error {
	if _, err := wire.ParseAgentID(string(r.Agent)); err != nil {
		return err
	}
	if sec.revoked != nil {
		if err := sec.revoked.Revoke(ctx, r.Agent); err != nil {
			return err
		}
		srv.Recheck()
	} else {
		for _, a := range srv.Agents() {
			if a.ID == r.Agent && (a.State == heartbeat.Online || a.State == heartbeat.Late) {
				return fmt.Errorf("agent %s is connected, and without certificates (insecure_plaintext) it would be back at once: stop it first", r.Agent)
			}
		}
	}
	if err := j.Forget(ctx, r.Agent, r.event()); err != nil {
		return err
	}
	srv.Forget(r.Agent)
	return nil
}

func printForgotten(w io.Writer, f *forgetResult, plaintext, asJSON bool) error {
	if asJSON {
		return daemon.PrintJSON(w, f)
	}
	what := fmt.Sprintf("%d streams with %d stored messages, which stay; %d messages that it has announced and not delivered are given up", f.Streams, f.Stored, f.GivenUp)
	next := fmt.Sprintf("its certificates are revoked; if it was a mistake: collector token create --id %s", f.Agent)
	if plaintext {
		next = "links are plain TCP: it is back as soon as its agent is started again"
	}
	if !f.Done {
		_, err := fmt.Fprintf(w, "agent %s would be forgotten: %s\nnothing is changed without --yes\n", f.Agent, what)
		return err
	}
	_, err := fmt.Fprintf(w, "agent %s is forgotten in the name of %s: %s\n%s\n", f.Agent, shown(f.By), what, next)
	return err
}

// because is a reason behind a sentence.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ", because: " + shown(reason)
}
