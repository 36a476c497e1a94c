package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// tokenVariable is the environment variable that may hold a token.
const tokenVariable = "FIELDPOST_TOKEN"

// maxToken is the most bytes that are read of a token's file.
const maxToken = 4 << 10

func enrollCommand() *cobra.Command {
	var s settings
	var token, tokenFile string
	c := &cobra.Command{
		Use:   "enroll",
		Short: "Get this machine's certificate from a collector, with a token",
		Long: `Gets a certificate for the agent of the folder, with a token that "collector token
create" has printed. The private key is made here and never leaves this machine. The
token names the one collector's authority that is trusted from now on; whoever else
answers is told nothing.

The agent may be running: it connects within seconds. The certificate is renewed by
itself. Later "agent run" needs no --collector any more: it takes this one.

The token is taken from --token, from --token-file (- is standard input), or from the
environment variable FIELDPOST_TOKEN. On a machine with other users take one of the
latter two: they can see command lines. After an error the same token may be tried
again from the same folder.

It exits 0 with a certificate, 1 if the collector refuses (used, expired or wrong
token), 69 if it cannot be reached.`,
		Example: `  agent enroll --collector collector.example.com:4717 --token fpt_...
  agent enroll --collector 10.0.0.5:4717 --id pump-7 --dir /var/lib/fieldpost --token-file /run/token
  FIELDPOST_TOKEN=fpt_... agent enroll --config agent.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if len(c.Collectors) == 0 {
				return daemon.WithCode(daemon.Usage, errors.New("no collector: name one with --collector HOST:PORT"))
			}
			if c.TLS.Given() {
				return daemon.WithCode(daemon.BadConfig, fmt.Errorf("%s has tls with files of its own: they count, and an enrolment would not; leave tls out", s.file))
			}
			secret, err := readToken(cmd.InOrStdin(), token, tokenFile)
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			e, err := enroll(cmd.Context(), agent.EnrollConfig{ID: c.ID, Dir: c.Dir, Token: secret, Software: "fieldpost agent " + daemon.Version()}, c.Collectors)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "agent %s is enrolled at %s; folder %s; certificate until %s, renewed by itself\n",
				e.ID, e.Collector, c.Dir, e.NotAfter.Local().Format(time.DateTime))
			return err
		},
	}
	f := c.Flags()
	s.addFile(f)
	s.addID(f)
	s.addCollector(f)
	f.StringVar(&token, "token", "", "the `token`; other users of this machine may see it here")
	f.StringVar(&tokenFile, "token-file", "", "read the token from this `file`; -: standard input")
	return c
}

// readToken returns the token from where it was given. Errors do not show it.
func readToken(stdin io.Reader, flag, file string) (string, error) {
	env := os.Getenv(tokenVariable)
	switch {
	case flag != "" && file != "":
		return "", daemon.WithCode(daemon.Usage, errors.New("give either --token or --token-file"))
	case flag != "":
		return flag, nil
	case file == "-":
		return tokenFrom(stdin, "standard input")
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		defer f.Close()
		return tokenFrom(f, file)
	case env != "":
		return env, nil
	}
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(os.Stderr, "token: ")
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return "", err
		}
		return string(b), nil
	}
	return "", daemon.WithCode(daemon.Usage, fmt.Errorf("no token: give --token-file FILE, or --token TOKEN, or set %s; \"collector token create\" makes one", tokenVariable))
}

func tokenFrom(r io.Reader, name string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxToken+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case len(b) > maxToken || strings.TrimSpace(string(b)) == "":
		return "", daemon.WithCode(daemon.Usage, fmt.Errorf("%s: want one token and nothing else", name))
	}
	return string(b), nil
}

// enroll tries the collectors in turn, until one answers. Its error has the exit
// code.
func enroll(ctx context.Context, cfg agent.EnrollConfig, collectors []string) (agent.Enrolment, error) {
	var errs []error
	for _, addr := range collectors {
		cfg.Collector = addr
		e, err := agent.Enroll(ctx, cfg)
		if err == nil {
			return e, nil
		}
		if !agent.Unreachable(err) {
			return e, withCode(err)
		}
		errs = append(errs, err)
	}
	return agent.Enrolment{}, daemon.WithCode(daemon.Unreachable, fmt.Errorf("%w; the token is still good: run this again once the collector is reached (\"collector doctor\" there)", errors.Join(errs...)))
}
