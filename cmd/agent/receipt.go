package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/carry"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func receiptCommand() *cobra.Command {
	var s settings
	var asJSON, unsigned bool
	c := &cobra.Command{
		Use:   "receipt FILE",
		Short: "Take the receipt of an imported carry file: what the store has is freed",
		Long: `Takes the receipt that "collector import" has written for a carry file of this agent.
What the store has is acked, durably, and its files are deleted, as by the ack of a
link. It works on a folder whose agent runs, and on one whose agent does not. "-"
reads standard input.

A receipt may come late, twice, or behind a newer one: it never takes an ack back. It
is refused if it is for another agent, if the folder was put back to an older state
since the export or is a copy, and if it is of a store that the agent does not obey.
An agent that is enrolled wants it signed by a collector that it trusts; --unsigned takes
one that is not, of a collector without TLS. An agent that is not enrolled believes any:
keep it from whoever must not delete what is here.

--json prints one array of objects {lane, epoch, from, to, rejected, error}: numbers
from to to are acked by it; both are left out if there are none. rejected is a number
that the store refuses for good, a dead letter now.

It exits 1 if the receipt is refused or cannot be read, 75 if another program has the
folder or its disk takes nothing now, 76 if a daemon has the folder and does not answer.`,
		Example: `  agent queue receipt /media/stick/pump-7.carry.receipt
  agent queue receipt --dir ./pump-7 pump-7.carry.receipt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			text, err := readReceipt(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			list, err := takeReceipt(cmd.Context(), c, &receiptRequest{text, unsigned})
			if perr := printSettled(cmd.OutOrStdout(), list, asJSON); err == nil {
				err = perr
			}
			return err
		},
	}
	s.addFile(c.Flags())
	s.addInsecure(c.Flags())
	c.Flags().BoolVar(&unsigned, "unsigned", false, "take a receipt that no collector has signed: anybody can have written it")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	s.log = daemon.AddLogFlags(c.Flags())
	return c
}

func readReceipt(stdin io.Reader, path string) ([]byte, error) {
	from := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, withCode(err)
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, carry.MaxReceipt+1))
	if err == nil && len(text) > carry.MaxReceipt {
		err = fmt.Errorf("%s: no receipt is that long; the carry file's receipt has its name and .receipt behind it", path)
	}
	return text, err
}

// settle gives an agent a receipt.
func settle(ctx context.Context, a *agent.Agent, r *receiptRequest) ([]agent.Settled, error) {
	return a.Settle(ctx, bytes.NewReader(r.Receipt), agent.SettleOptions{Unsigned: r.Unsigned})
}

// takeReceipt gives a receipt to the daemon that has the folder, or takes it in
// the folder. Its error has the exit code.
func takeReceipt(ctx context.Context, c config.Agent, r *receiptRequest) (list []agent.Settled, err error) {
	var out receiptAnswer
	err = control.Call(ctx, c.Dir, http.MethodPost, "/receipt", r, &out)
	if !errors.Is(err, control.ErrNotRunning) {
		if err == nil && out.Refusal != nil {
			err = out.Refusal
		}
		return out.Settled, refused(err)
	}
	err = inFolder(ctx, c, func(a *agent.Agent) error {
		list, err = settle(ctx, a, r)
		return err
	})
	return list, err
}

func printSettled(w io.Writer, list []agent.Settled, asJSON bool) error {
	if asJSON {
		if list == nil {
			list = []agent.Settled{}
		}
		return daemon.PrintJSON(w, list)
	}
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "lane %s, epoch %s: ", s.Lane, s.Epoch.String()[:8])
		switch {
		case s.Error != "":
			b.WriteString("not taken")
		case s.To > 0:
			fmt.Fprintf(&b, "numbers %d to %d are stored and freed", s.From, s.To)
		default:
			b.WriteString("nothing new")
		}
		if s.Rejected > 0 {
			fmt.Fprintf(&b, "; the store refuses %d for good, see agent queue dead ls; export again", s.Rejected)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
