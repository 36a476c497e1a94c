package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

func sendCommand() *cobra.Command {
	var s settings
	var headers []string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "send [MESSAGE | -]",
		Short: "Put one message into the queue; exit 0 only when it is on disk",
		Long: `Puts one message into the queue of the folder: through the daemon that runs
there, or straight into the queue if none does, and then the next "agent run"
delivers it. "-", or no MESSAGE, takes all of standard input as the body, byte for
byte.

It exits 0 only when the message is on disk; 75 if it is certainly not and may be
later (the lane is full, another program has the folder); 76 if that is unknown.`,
		Example: `  agent send --dir ./pump-7 --topic pump/pressure "3.2 bar"
  agent send --dir ./pump-7 --lane alarms --header severity=high "valve stuck"
  agent send --dir ./pump-7 --topic camera/frame - < frame.jpg`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			m := message{Lane: s.given.lane, Topic: s.given.topic, Time: time.Now()}
			if m.Headers, err = parseHeaders(headers); err != nil {
				return daemon.WithCode(daemon.Usage, err)
			}
			if m.Body, err = body(cmd.InOrStdin(), args); err != nil {
				return withCode(err)
			}
			w := wire.Message{Topic: m.Topic, Time: m.Time, Headers: m.Headers, Body: m.Body}
			if err := w.Check(); err != nil {
				return withCode(err)
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("no answer within --timeout %s: %w", timeout, context.DeadlineExceeded))
			defer cancel()
			return send(ctx, c, m)
		},
	}
	f := c.Flags()
	s.addFile(f)
	s.addID(f)
	s.addMessage(f)
	f.StringArrayVar(&headers, "header", nil, "add a header, as `KEY=VALUE`; may be given more than once")
	f.DurationVar(&timeout, "timeout", 30*time.Second, "give up after this long")
	s.log = daemon.AddLogFlags(f)
	return c
}

// send gives m to the daemon that has the folder, or else to the queue itself.
// Its error has the exit code.
func send(ctx context.Context, c config.Agent, m message) error {
	until := time.Now().Add(5 * time.Second)
	for {
		err := control.Call(ctx, c.Dir, http.MethodPost, "/send", m, nil)
		if !errors.Is(err, control.ErrNotRunning) {
			return refused(err)
		}
		err = queue(ctx, c, m)
		if !errors.Is(err, agent.ErrInUse) || time.Now().After(until) {
			return withCode(err)
		}
		// A daemon that is just starting, or another send: it is over soon.
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return withCode(err)
		}
	}
}

// queue puts m straight into the folder's queue.
func queue(ctx context.Context, c config.Agent, m message) (err error) {
	c.Collectors = nil
	a, err := agent.Open(ctx, library(c, daemon.Logger(os.Stderr, quiet(c.Log))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Send(ctx, m.agent())
}

// quiet is a log of what goes wrong, for a command that has something else to
// say.
func quiet(l config.Log) config.Log {
	l.Level = max(l.Level, 4)
	return l
}

// body returns the message's body: the argument, or all of standard input.
func body(stdin io.Reader, args []string) ([]byte, error) {
	if len(args) == 1 && args[0] != "-" {
		return []byte(args[0]), nil
	}
	if f, ok := stdin.(*os.File); ok && len(args) == 0 && term.IsTerminal(int(f.Fd())) {
		return nil, daemon.WithCode(daemon.Usage, errors.New("no message: give one, or - to type it and end it with Ctrl-D"))
	}
	b, err := io.ReadAll(io.LimitReader(stdin, wire.MaxRecord+1))
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return b, nil
}

func parseHeaders(list []string) ([]agent.Header, error) {
	var headers []agent.Header
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--header %.80q: write KEY=VALUE", s)
		}
		headers = append(headers, agent.Header{Key: key, Value: value})
	}
	return headers, nil
}
