package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func auditCloseCommand() *cobra.Command {
	var s settings
	var reason, by string
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "close AGENT[/LANE[/EPOCH]] --reason TEXT --yes",
		Short: "Accept unexplained numbers and what the store has lost",
		Long: `Accepts, for good, what audit finds now of an agent, a lane or a stream: numbers that
are unexplained, that are lost at the store, or whose record is missing. It is
written into the journal with who, when and why, and stays there over restarts,
backups and retention. Audit shows these numbers as closed from then on and does not
fail for them. Numbers that become unexplained later are not accepted.

Damaged files and doubled numbers cannot be accepted: collector verify names the
files, collector repair marks what is gone in them.

It reads the whole journal first, as audit does, and works beside a running
collector and on the folder of a stopped one. Without --yes it only says what it
would accept. EPOCH may be cut to 8 digits or more.

It exits 0 if there is nothing left to accept, 1 if there is no such agent or stream.

--json prints one object: agent, by, reason, done (false without --yes), numbers and
ranges [{claim, lane, epoch, incarnation, from, to}]; claim is unexplained,
lost-at-store or missing.`,
		Example: `  collector audit close pump-7 --reason "the disk burned, see ticket 4711"
  collector audit close pump-7/default/1a2b3c4d --reason "test messages" --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			of, err := parseStream(args[0])
			if err == nil && (strings.TrimSpace(reason) == "" || len(reason) > ledger.MaxCloseText) {
				err = fmt.Errorf("say why, in at most %d bytes: --reason TEXT", ledger.MaxCloseText)
			}
			if err != nil {
				return daemon.WithCode(daemon.Usage, err)
			}
			if by == "" {
				by = whoami()
			}
			r, err := journal.Audit(cmd.Context(), c.Dir)
			if err != nil {
				return interrupted(cmd, err)
			}
			ranges, err := acceptable(&r, of)
			if err != nil {
				return err
			}
			done := closeResult{Agent: of.agent, By: by, Reason: reason, Ranges: []ledger.Accepted{}}
			for part := range slices.Chunk(ranges, ledger.MaxAccepted) {
				req := closeRequest{Agent: of.agent, By: by, Reason: reason, Ranges: part}
				if yes {
					if part, err = accept(cmd.Context(), c.Dir, &req); err != nil {
						return withCode(err)
					}
					done.Done = true
				}
				done.Ranges = append(done.Ranges, part...)
			}
			return printClosed(cmd.OutOrStdout(), &done, asJSON)
		},
	}
	s.addFile(c.Flags())
	c.Flags().StringVar(&reason, "reason", "", "why they are accepted; `TEXT` that the next operator understands")
	c.Flags().StringVar(&by, "by", "", "who accepts them (default: the user who runs this command); `NAME`")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// streamName is an agent, a lane of it, or a stream of that.
type streamName struct {
	agent wire.AgentID
	lane  wire.Lane
	epoch string // the first digits
}

func parseStream(text string) (n streamName, err error) {
	parts := strings.Split(text, "/")
	if len(parts) > 3 {
		return n, fmt.Errorf("%.100q is not of the form AGENT[/LANE[/EPOCH]]", text)
	}
	if n.agent, err = wire.ParseAgentID(parts[0]); err == nil && len(parts) > 1 {
		n.lane, err = wire.ParseLane(parts[1])
	}
	if err == nil && len(parts) > 2 {
		n.epoch = strings.ToLower(parts[2])
		if len(n.epoch) < 8 || len(n.epoch) > 32 || strings.Trim(n.epoch, "0123456789abcdef") != "" {
			err = fmt.Errorf("epoch %.40q: give its first 8 digits or more, as audit shows them", parts[2])
		}
	}
	return n, err
}

func (n *streamName) has(id wire.AgentID, lane wire.Lane, epoch wire.Epoch) bool {
	return n.agent == id && (n.lane == "" || n.lane == lane) && strings.HasPrefix(epoch.String(), n.epoch)
}

// acceptable returns what of a report an operator can accept of a stream.
func acceptable(r *journal.Report, of streamName) (list []ledger.Accepted, err error) {
	known := false
	for i := range r.Streams {
		s := &r.Streams[i]
		known = known || of.has(s.Agent, s.Lane, s.Epoch)
	}
	claims := map[journal.Kind]ledger.Claim{journal.KindUnexplained: ledger.ClaimUnexplained, journal.KindLost: ledger.ClaimLost, journal.KindMissing: ledger.ClaimMissing}
	for i := range r.Findings {
		f := &r.Findings[i]
		claim := claims[f.Kind]
		if claim == 0 || !of.has(f.Agent, f.Lane, f.Epoch) {
			continue
		}
		a := ledger.Accepted{Claim: claim, Lane: f.Lane, Epoch: f.Epoch, From: f.From, To: f.To}
		if claim == ledger.ClaimUnexplained {
			a.Incarnation = f.Incarnation
		}
		list = append(list, a)
		known = true
	}
	if !known {
		return nil, fmt.Errorf("the journal knows no such agent or stream; collector audit --agent %s shows those of the agent", of.agent)
	}
	return join(list), nil
}

// join makes one range of those that follow one another.
func join(list []ledger.Accepted) (out []ledger.Accepted) {
	slices.SortFunc(list, func(x, y ledger.Accepted) int {
		return cmp.Or(cmp.Compare(x.Claim, y.Claim), cmp.Compare(x.Lane, y.Lane), slices.Compare(x.Epoch.ID[:], y.Epoch.ID[:]), slices.Compare(x.Incarnation.ID[:], y.Incarnation.ID[:]), cmp.Compare(x.From, y.From))
	})
	for _, r := range list {
		if k := len(out) - 1; k >= 0 && out[k].About(&r) && out[k].Epoch == r.Epoch && out[k].To+1 >= r.From {
			out[k].To = max(out[k].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// closeRequest asks a collector to accept numbers.
type closeRequest struct {
	Agent  wire.AgentID      `json:"agent"`
	By     string            `json:"by"`
	Reason string            `json:"reason"`
	Ranges []ledger.Accepted `json:"ranges"`
}

func (r *closeRequest) closing() ledger.Closing {
	return ledger.Closing{Time: time.Now(), By: r.By, Reason: r.Reason, Ranges: r.Ranges}
}

// accept has the collector that has dir accept numbers, or writes that into its
// journal, and returns what was accepted.
func accept(ctx context.Context, dir string, r *closeRequest) ([]ledger.Accepted, error) {
	ask, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var done ledger.Closing
	err := control.Call(ask, dir, http.MethodPost, "/audit/close", r, &done)
	if !errors.Is(err, control.ErrNotRunning) {
		return done.Ranges, err
	}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	j, err := journal.Open(journal.Options{Dir: dir, Logger: quiet})
	if err != nil {
		return nil, err
	}
	done, err = j.Accept(ctx, r.Agent, r.closing())
	return done.Ranges, errors.Join(err, j.Close())
}

// closeResult is what the command prints.
type closeResult struct {
	Agent   wire.AgentID      `json:"agent"`
	By      string            `json:"by"`
	Reason  string            `json:"reason"`
	Done    bool              `json:"done"`
	Numbers uint64            `json:"numbers"`
	Ranges  []ledger.Accepted `json:"ranges"`
}

func printClosed(w io.Writer, c *closeResult, asJSON bool) error {
	for _, r := range c.Ranges {
		c.Numbers += uint64(r.To - r.From + 1)
	}
	if asJSON {
		return daemon.PrintJSON(w, c)
	}
	var b strings.Builder
	for _, r := range c.Ranges {
		fmt.Fprintf(&b, "%s/%s/%s %s: %d %s\n", c.Agent, r.Lane, epochName(r.Epoch), between(r.From, r.To), r.To-r.From+1, r.Claim)
	}
	switch {
	case len(c.Ranges) == 0:
		b.WriteString("there is nothing to accept\n")
	case c.Done:
		fmt.Fprintf(&b, "accepted %d numbers in the name of %s: audit shows them as closed\n", c.Numbers, shown(c.By))
	default:
		fmt.Fprintf(&b, "these %d numbers would be accepted, for good, in the name of %s; nothing is changed without --yes\n", c.Numbers, shown(c.By))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// whoami names the user who runs this command.
func whoami() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if name == "" {
		name = fmt.Sprintf("uid %d", os.Getuid())
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" && sudo != name {
		name += " (sudo by " + sudo + ")"
	}
	return name
}
