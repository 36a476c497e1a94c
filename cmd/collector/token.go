package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens with which machines enrol",
		Long: `A machine enrols with a token: it gets a certificate for its agent's id, and from
then on links to this collector and no other. A token is a secret; only a hash of it
is kept. It is good for one machine and an hour unless it says otherwise.

These commands work beside a running collector and without one.`,
	}
	c.AddCommand(tokenCreateCommand(), tokenLsCommand(), tokenRevokeCommand(), tokenHTTPCommand())
	return c
}

func tokenCreateCommand() *cobra.Command {
	var s settings
	var address string
	var o enroll.TokenOptions
	var bare bool
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a token and print the one command to run on the edge machine",
		Long: `Makes a token and prints the command that enrols a machine with it. The token has
the fingerprint of this collector's authority, so the machine trusts nothing else.

A token for many ids (--id with * or ?, or no --id) does not give the id of an agent
that this collector knows already; one made for that id alone does, which is how a
replaced machine gets its name back. --known lifts that.`,
		Example: `  collector token create
  collector token create --id pump-7
  collector token create --id 'pump-*' --uses 20 --ttl 8h --address collector.example.com:4717
  collector token create --bare | ssh pump-7 agent enroll --collector 10.0.0.5:4717 --token-file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if address != "" {
				if _, err := config.ParseCollectorAddress(address); err != nil {
					return daemon.WithCode(daemon.Usage, fmt.Errorf("--address: %w", err))
				}
			}
			r, err := openRegistry(&c, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			t, info, err := r.CreateToken(cmd.Context(), o)
			if err != nil {
				return err
			}
			if bare {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), t.Reveal())
				return err
			}
			if address == "" {
				address = advertised(cmd.Context(), &c)
			}
			id := ""
			if o.ID != "" && !strings.ContainsAny(o.ID, `*?[\`) {
				id = " --id " + o.ID
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Token %s is good for %s until %s. Run this on %s:\n", info.Name, machines(info.Uses), info.Expires.Local().Format(time.DateTime), forWhom(&info))
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "agent enroll%s --collector %s --token %s\n", id, address, t.Reveal())
			return err
		},
	}
	s.addFile(c.Flags())
	f := c.Flags()
	o.TTL = enroll.DefaultTTL
	f.Var(daemon.NewValue("DURATION", config.Duration(enroll.DefaultTTL).String(), func(v string) error {
		d, err := config.ParseDuration(v)
		o.TTL = time.Duration(d)
		return err
	}), "ttl", "how long it is good for, 1m to 24h")
	f.IntVar(&o.Uses, "uses", 1, "how many machines may enrol with it")
	f.StringVar(&o.ID, "id", "", "for this agent `id`, or ids that match a pattern with * and ? (default any)")
	f.BoolVar(&o.Known, "known", false, "with many ids: also those of agents that are known already")
	f.StringVar(&address, "address", "", "the collector's `host:port` as the edge machine reaches it (default where the collector listens)")
	f.BoolVar(&bare, "bare", false, "print the token alone")
	return c
}

func tokenHTTPCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "http",
		Short: "Print the bearer token for the pages, once",
		Long: `Prints the token that /metrics and /readyz want from other machines (http: on an
address off the loopback). The collector has made it with its first start on such an
address; it is printed once, and from then on only its hash is kept. If it was printed
already, a new one is made instead, which counts within a second, without a restart.`,
		Example: `  collector token http > /etc/prometheus/fieldpost.token
  curl --cacert /var/lib/fieldpost/collector/tls/ca.pem -H "Authorization: Bearer $TOKEN" https://collector.example.com:4718/metrics`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if _, err := os.Stat(c.Dir); err != nil {
				return fmt.Errorf("%w; name a collector's folder with --dir", err)
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			text, err := enroll.TakeBearer(cmd.Context(), c.Dir)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	s.addFile(c.Flags())
	return c
}

func machines(n int) string {
	if n == 1 {
		return "one machine"
	}
	return fmt.Sprintf("%d machines", n)
}

func forWhom(t *enroll.TokenInfo) string {
	if t.ID == "" {
		return "the edge machine, with --dir if its agent has a folder of its own"
	}
	return "the machine of agent " + t.ID
}

// advertised returns an address under which agents may reach the collector: of the
// one that runs, else of the one that would.
func advertised(ctx context.Context, c *config.Collector) string {
	listen := c.Listen
	var now string
	if err := control.Call(ctx, c.Dir, "GET", "/listen", nil, &now); err == nil {
		listen = now
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			host = "HOST"
		}
	}
	return net.JoinHostPort(host, port)
}

func tokenLsCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the tokens, and who has used them",
		Long: `Lists tokens by their names; secrets are not kept. Tokens that are over stay in the
list for a week.

--json prints a list of objects: name, id, known, uses, left, created, expires, used
[{agent, time}].`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			r, err := openRegistry(&c, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			list, err := r.Tokens()
			if err != nil {
				return err
			}
			return printTokens(cmd.OutOrStdout(), list, asJSON, time.Now())
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// tokenView is a token as JSON.
type tokenView struct {
	Name    string    `json:"name"`
	ID      string    `json:"id,omitempty"`
	Known   bool      `json:"known,omitempty"`
	Uses    int       `json:"uses"`
	Left    int       `json:"left"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Used    []useView `json:"used"`
}

type useView struct {
	Agent string    `json:"agent"`
	Time  time.Time `json:"time"`
}

func printTokens(w io.Writer, list []enroll.TokenInfo, asJSON bool, now time.Time) error {
	if asJSON {
		views := make([]tokenView, len(list))
		for i, t := range list {
			views[i] = tokenView{t.Name, t.ID, t.Known, t.Uses, t.Left(now), t.Created, t.Expires, []useView{}}
			for _, u := range t.Used {
				views[i].Used = append(views[i].Used, useView{string(u.Agent), u.Time})
			}
		}
		return daemon.PrintJSON(w, views)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "there is no token")
		return err
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TOKEN\tFOR\tLEFT\tUSES\tEXPIRES\tUSED BY")
	for _, k := range list {
		ends := "in " + span(k.Expires.Sub(now))
		if !now.Before(k.Expires) {
			ends = "expired"
		}
		var by []string
		for i, u := range k.Used {
			if i == 5 {
				by = append(by, fmt.Sprintf("and %d more", len(k.Used)-i))
				break
			}
			by = append(by, string(u.Agent))
		}
		id := k.ID
		if id == "" {
			id = "any"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", k.Name, id, k.Left(now), k.Uses, ends, dash(strings.Join(by, ", ")))
	}
	t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

func tokenRevokeCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "revoke TOKEN",
		Short: "Make a token useless; certificates that it has given stay good",
		Long: `Makes a token useless, by its name as "token ls" prints it. Agents that have enrolled
with it stay enrolled; "collector agents revoke" is for them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			r, err := openRegistry(&c, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			found, err := r.RevokeToken(cmd.Context(), args[0])
			if err == nil && !found {
				err = errors.New("there is no token of that name; \"collector token ls\" lists them")
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "token %s is revoked\n", args[0])
			return err
		},
	}
	s.addFile(c.Flags())
	return c
}
