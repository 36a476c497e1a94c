package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/service"
)

func reloadCommand() *cobra.Command {
	var s settings
	var asJSON bool
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have the running agent read its configuration file again",
		Long: `Has the daemon that runs on a folder read the configuration file that it was started
with again, and says what has changed. SIGHUP and "systemctl reload" do the same.

Lanes, routes, inputs, collectors, heartbeat, reconnect and log.level change while it
runs; no message is lost or doubled. A lane that is new takes messages at once, one
that is gone takes none any more and is delivered to its end. An input that has
changed is stopped and started again where it was; the others go on.

A file that is wrong, and one that asks for what takes a restart (id, dir, tls,
insecure_plaintext, http, log.format, whether and where to standard input is read), is refused
whole: the daemon goes on as before, and the exit code is 78. The values of ${VAR}
are those of the daemon's environment.

--json prints one object: file, changed [text].

It exits 69 if no daemon runs on the folder or it does not answer, 75 if a new lane
cannot be opened now, because the disk is full.`,
		Example: `  agent reload --dir ./pump-7
  agent reload --config /etc/fieldpost/agent.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			var done reloaded
			err = control.Call(cmd.Context(), c.Dir, http.MethodPost, "/reload", nil, &done)
			switch {
			case errors.Is(err, control.ErrNotRunning):
				return daemon.WithCode(daemon.Unreachable, fmt.Errorf("%w; it reads its configuration when it is started", err))
			case errors.Is(err, control.ErrNoAnswer):
				return daemon.WithCode(daemon.Unreachable, err)
			case err != nil:
				return refused(err)
			case asJSON:
				return daemon.PrintJSON(cmd.OutOrStdout(), done)
			}
			return done.print(cmd.OutOrStdout())
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// reloaded says what a reload has changed.
type reloaded struct {
	File    string   `json:"file"`
	Changed []string `json:"changed"` // in words
}

func (r *reloaded) print(w io.Writer) error {
	if len(r.Changed) == 0 {
		_, err := fmt.Fprintf(w, "%s: nothing has changed\n", config.Printable(r.File))
		return err
	}
	for _, c := range r.Changed {
		if _, err := fmt.Fprintln(w, config.Printable(c)); err != nil {
			return err
		}
	}
	return nil
}

// errConfig is a configuration that was not taken.
var errConfig = errors.New("nothing is changed")

// reloader gives a running daemon another configuration.
type reloader struct {
	// Static.
	settings *settings
	agent    *agent.Agent
	inputs   *inputs
	level    *slog.LevelVar
	log      *slog.Logger

	mu  sync.Mutex
	cfg config.Agent // that holds
}

// reload reads the file and takes what it says, all or nothing. It is for one
// goroutine at a time; others wait.
func (r *reloader) reload(ctx context.Context) (done reloaded, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer service.Reloading(r.log)()
	done.File, done.Changed = r.settings.file, []string{}
	defer func() {
		if err != nil {
			r.log.Error("the configuration was not taken: the old one holds", "file", done.File, "err", err)
			return
		}
		r.log.Info("the configuration was read again", "file", done.File, "changed", done.Changed)
	}()
	if r.settings.file == "" {
		return done, fmt.Errorf("%w: the daemon was started without --config, so there is no file to read again", errConfig)
	}
	c, err := r.settings.load()
	if err == nil {
		err = findCollector(&c)
	}
	if err == nil {
		err = r.fixed(&c)
	}
	if err != nil {
		return done, fmt.Errorf("%w: %w", errConfig, err)
	}
	other := r.inputs.prepare(c.Inputs, lanesGo(&r.cfg, &c))
	other.pause()
	changed, err := r.agent.Reconfigure(ctx, library(c, r.log))
	if err != nil {
		other.giveUp()
		if !passes(err) {
			err = fmt.Errorf("%w: %w", errConfig, err)
		}
		return done, err
	}
	done.Changed = append(append(done.Changed, changed...), other.apply()...)
	if c.Log.Level != r.cfg.Log.Level {
		r.level.Set(c.Log.Level)
		done.Changed = append(done.Changed, "another log level")
	}
	r.cfg = c
	return done, nil
}

// fixed returns an error if c asks for what takes a restart and the library does not
// know.
func (r *reloader) fixed(c *config.Agent) error {
	for _, f := range []struct {
		key     string
		changed bool
	}{
		{"http", c.HTTP != r.cfg.HTTP},
		{"log.format", c.Log.Format != r.cfg.Log.Format},
		{"inputs: whether and where to standard input is read", c.Inputs.NoStdin != r.cfg.Inputs.NoStdin || c.Stdin != r.cfg.Stdin},
	} {
		if f.changed {
			return fmt.Errorf("%s: %w", f.key, agent.ErrRestart)
		}
	}
	return nil
}

// lanesGo reports whether a lane takes no more messages in c that takes some in old.
func lanesGo(old, c *config.Agent) bool {
	for name := range old.Lanes {
		if _, ok := c.Lanes[name]; !ok && name != "default" {
			return true
		}
	}
	return false
}

// onHangup reloads at each SIGHUP until ctx ends, if there is a file to read again:
// without one the signal means what it does for any program.
func (r *reloader) onHangup(ctx context.Context) {
	if r.settings.file == "" {
		return
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			_, _ = r.reload(ctx) // it is in the log
		case <-ctx.Done():
			return
		}
	}
}
