package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/service"
)

func runCommand() *cobra.Command {
	var s settings
	var stay bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Read the inputs, standard input or those configured, and deliver messages",
		Long: `Takes each line of standard input as a message, puts it on disk, and delivers it
to the collector. Only the newline is stripped; an empty line is an empty message,
and a last line needs no newline.

At the end of the input it waits until everything is delivered and exits 0, so
"agent run < file" is a lossless copy. With --stay it goes on until it is stopped.
It keeps trying while the collector cannot be reached.

Other inputs stand in the configuration: files that grow, the machine's own figures,
commands. With them it stays until it is stopped, and reads standard input only if
that is one of them.

The link is encrypted with the certificate that "agent enroll" has got for the folder,
or with files (tls: in the configuration). Until there is one, messages are kept; if
there is no collector either, --stay waits for the enrolment and takes none yet.

On SIGTERM or Ctrl-C what was read is put on disk and the agent says goodbye. The
exit code is then 0 with --stay, and 75 for a copy that was interrupted; what was
accepted stays in the folder and is delivered by the next run.

A line above 1 MiB (with topic) is named by its number and passed over; the exit
code is then 1. If the folder is another agent's the exit code is 78, if another
process has it 75.`,
		Example: `  agent run --dir ./pump-7 < readings.log
  tail -F app.log | agent run --collector 10.0.0.5:4717 --topic app/log --stay
  agent run --config agent.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			if stay {
				err = awaitCollector(cmd.Context(), &c, daemon.Logger(cmd.ErrOrStderr(), c.Log))
			} else {
				err = findCollector(&c)
			}
			switch {
			case cmd.Context().Err() != nil && stay: // it was stopped while it waited
				return nil
			case err != nil:
				return withCode(err)
			}
			r := &run{cfg: c, settings: &s, stay: stay, in: cmd.InOrStdin(), level: new(slog.LevelVar)}
			r.level.Set(c.Log.Level)
			r.log = daemon.LeveledLogger(cmd.ErrOrStderr(), c.Log.Format, r.level)
			return r.run(cmd.Context())
		},
	}
	f := c.Flags()
	s.addFile(f)
	s.addID(f)
	s.addLink(f)
	s.addHTTP(f)
	s.addMessage(f)
	f.BoolVar(&stay, "stay", false, "go on at the end of the input, until stopped")
	s.log = daemon.AddLogFlags(f)
	return c
}

// findCollector sees that there is a collector: that of the enrolment if none is
// configured.
func findCollector(c *config.Agent) error {
	if len(c.Collectors) > 0 {
		return nil
	}
	e, err := agent.ReadEnrolment(c.Dir)
	switch {
	case err == nil && !c.Plaintext:
		c.Collectors = []string{e.Collector}
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return daemon.WithCode(daemon.Usage, errNoCollector)
}

var errNoCollector = errors.New("no collector: enrol at one (agent enroll --help), name one with --collector HOST:PORT, or under collectors in the configuration")

// A shutdown is to end within five seconds of the signal.
const (
	handInWithin = 3 * time.Second         // what was read is on disk by then, or is told
	closeWithin  = 4800 * time.Millisecond // the agent has closed by then, or is left as it is
)

// run is one run of the daemon.
type run struct {
	cfg      config.Agent
	settings *settings // for reading them again
	stay     bool
	in       io.Reader
	level    *slog.LevelVar
	log      *slog.Logger

	agent  *agent.Agent
	copier *copier
	before int64 // numbers of the copy's lane that had a tombstone when it began
}

func (r *run) run(ctx context.Context) (err error) {
	r.agent, err = r.openFolder(ctx)
	if ctx.Err() != nil && err != nil && r.stays() { // it was stopped while it waited
		return nil
	}
	if err != nil {
		return withCode(err)
	}
	r.log.Info("the agent is open", "id", r.agent.ID(), "dir", r.cfg.Dir, "collectors", r.cfg.Collectors, "version", daemon.Version())
	stopped := make(chan time.Time, 1) // when the signal came
	defer context.AfterFunc(ctx, func() { stopped <- time.Now() })()

	in := newInputs(r.agent, r.cfg.Inputs, r.log)
	re := &reloader{settings: r.settings, agent: r.agent, inputs: in, level: r.level, log: r.log, cfg: r.cfg}
	var page net.Listener
	if r.cfg.HTTP != "" {
		if page, err = net.Listen("tcp", r.cfg.HTTP); err != nil {
			return errors.Join(fmt.Errorf("%w; another address can be set with --http, or http in the configuration", err), r.agent.Close())
		}
		r.log.Info("health and metrics are served", "http", page.Addr().String())
	}
	socket, err := control.ListenSoon(r.cfg.Dir, r.log)
	if err != nil {
		if page != nil {
			page.Close()
		}
		return errors.Join(err, r.agent.Close())
	}
	serving, cancel := context.WithCancel(ctx)
	var server sync.WaitGroup
	server.Go(func() {
		if err := control.Serve(serving, socket, handler(r.agent, in, re), time.Second); err != nil {
			r.log.Error("no command can reach this daemon any more; restart it", "err", err)
		}
	})

	if page != nil {
		server.Go(func() { servePages(serving, page, pages(r.agent, in), r.log) })
	}
	server.Go(func() { service.Notify(serving, r.log, func() { r.agent.Status() }) })

	server.Go(func() { in.run(serving) })
	server.Go(func() { re.onHangup(serving) })
	if r.stay = r.stay || len(in.list) > 0; r.cfg.Inputs.NoStdin {
		<-ctx.Done()
	} else {
		err = r.work(ctx)
	}
	err = errors.Join(err, r.tooLong())
	cancel()
	server.Wait()
	var limit <-chan time.Time
	if ctx.Err() != nil {
		limit = time.After(closeWithin - time.Since(<-stopped))
		r.log.Info("stopping", "cause", "signal")
	}
	return errors.Join(err, r.close(limit))
}

// open opens the agent. A folder in use is tried again for a moment, unless its
// daemon answers: "agent send" may have it, or a daemon that was killed and has not
// quite ended.
func open(ctx context.Context, cfg agent.Config) (*agent.Agent, error) {
	until := time.Now().Add(2 * time.Second)
	for {
		a, err := agent.Open(ctx, cfg)
		if !errors.Is(err, agent.ErrInUse) || time.Now().After(until) || answers(ctx, cfg.Dir) {
			return a, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// answers reports whether a daemon that has dir answers within a second.
func answers(ctx context.Context, dir string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := askStatus(ctx, dir)
	return err == nil
}

// work copies the input and waits for what is to be waited for. Its error has
// the exit code.
func (r *run) work(ctx context.Context) error {
	src, err := newSource(r.in)
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	defer src.Close()
	topic := r.cfg.Stdin.Topic
	r.copier = newCopier(r.agent, src, stdinLane(r.cfg), topic, r.log)
	r.copier.named = r.cfg.Stdin.Lane
	r.before = tombstones(r.agent, r.copier.lane)

	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-time.After(handInWithin):
			cancel()
		case <-last.Done():
		}
	})()
	err = r.copier.run(ctx, last)
	if err != nil && !errors.Is(err, errInterrupted) {
		return withCode(fmt.Errorf("standard input: %w; %s", err, r.counts()))
	}
	ended := err == nil
	if ended && r.stay {
		r.log.Info("the input has ended, the agent stays", "lines", r.copier.lines.Line())
		<-ctx.Done()
	}
	if ended && !r.stay {
		r.log.Info("the input has ended, waiting until all is delivered", "lines", r.copier.lines.Line())
		err = r.agent.Flush(ctx)
	}
	switch {
	case r.copier.fragment > 0:
		return daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted within line %d: its first %d bytes were read and are not handed in, the rest did not come; %s",
			r.copier.lines.Line()+1, r.copier.fragment, r.counts()))
	case r.copier.uncertain > 0:
		return daemon.WithCode(daemon.Unknown, fmt.Errorf("it is unknown whether %d lines were accepted, the log names them; %s", r.copier.uncertain, r.counts()))
	case err != nil && !r.stay:
		return r.interrupted(err, ended)
	}
	return nil
}

// interrupted is the end of a copy that is not done.
func (r *run) interrupted(err error, ended bool) error {
	if !errors.Is(err, errInterrupted) && !errors.Is(err, context.Canceled) {
		return withCode(fmt.Errorf("%w; %s", err, r.counts()))
	}
	next := "run again with no input to deliver it"
	if !ended {
		next = fmt.Sprintf("to copy the rest, go on with line %d of the input", r.copier.lines.Line()+1)
	}
	return daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted; %s; what is not delivered waits in %s, %s", r.counts(), r.cfg.Dir, next))
}

// tooLong is the error for lines that were passed over or dropped.
func (r *run) tooLong() error {
	switch {
	case r.copier == nil:
		return nil
	case r.copier.tooLong > 0:
		return fmt.Errorf("%d of %d lines were too long and were passed over; the log names them", r.copier.tooLong, r.copier.lines.Line())
	case r.copier.dropped > 0:
		return fmt.Errorf("%d of %d lines were dropped by the policy of lane %s", r.copier.dropped, r.copier.lines.Line(), r.copier.lane)
	case !r.stay && r.dropped() > 0:
		return fmt.Errorf("%d messages of lane %s were dropped meanwhile; \"agent status\" says why", r.dropped(), r.copier.lane)
	}
	return nil
}

// dropped is how many numbers of the copy's lane have got a tombstone since the
// agent was opened.
func (r *run) dropped() int64 { return tombstones(r.agent, r.copier.lane) - r.before }

// tombstones counts the numbers of a lane that have one.
func tombstones(a *agent.Agent, lane string) (n int64) {
	for _, l := range a.Status().Lanes {
		if l.Lane == lane {
			for _, d := range l.Dropped {
				n += int64(min(d, 1<<62))
			}
		}
	}
	return n
}

// counts says how far the copy has come. What is delivered is the least that it
// can be: the backlog's messages are taken to be the copy's last ones.
func (r *run) counts() string {
	gone := r.dropped() - r.copier.dropped // what was dropped at once was not accepted
	delivered := r.copier.accepted - max(0, gone)
	for _, l := range r.agent.Status().Lanes {
		if l.Lane == r.copier.lane {
			delivered = max(0, delivered-int64(min(l.Backlog, 1<<62)))
		}
	}
	text := fmt.Sprintf("%d lines read, %d accepted, %d delivered", r.copier.lines.Line(), r.copier.accepted, delivered)
	if gone > 0 {
		text += fmt.Sprintf(", %d dropped", gone)
	}
	return text
}

// close closes the agent. Whatever does not end by limit is left as a kill would
// leave it: what was accepted is on disk.
func (r *run) close(limit <-chan time.Time) error {
	closed := make(chan error, 1)
	go func() { closed <- r.agent.Close() }()
	select {
	case err := <-closed:
		return err
	case <-limit:
		r.log.Error("the agent did not close in time and is left as it is; what was accepted is on disk")
		return nil
	}
}
