package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"reflect"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
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
		Short: "Have the running collector read its configuration file again",
		Long: `Has the daemon that runs on a folder read the configuration file that it was started
with again, and says what has changed. SIGHUP and "systemctl reload" do the same.

retention, heartbeat (for links from now on) and log.level change while it runs; no
link ends. Certificates, tokens and revocations need no reload: their files are read
again by themselves.

A file that is wrong, and one that asks for what takes a restart (all other keys), is
refused whole: the daemon goes on as before, and the exit code is 78.

--json prints one object: file, changed [text].

It exits 69 if no daemon runs on the folder or it does not answer.`,
		Example: `  collector reload --dir /var/lib/fieldpost/collector
  collector reload --config /etc/fieldpost/collector.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			var done reloaded
			var no *control.Refusal
			err = control.Call(cmd.Context(), c.Dir, http.MethodPost, "/reload", nil, &done)
			switch {
			case errors.Is(err, control.ErrNotRunning):
				return daemon.WithCode(daemon.Unreachable, fmt.Errorf("%w; it reads its configuration when it is started", err))
			case errors.Is(err, control.ErrNoAnswer):
				return daemon.WithCode(daemon.Unreachable, err)
			case errors.As(err, &no) && no.Code == codeConfig:
				return daemon.WithCode(daemon.BadConfig, err)
			case err != nil:
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return daemon.PrintJSON(out, done)
			}
			if len(done.Changed) == 0 {
				done.Changed = []string{done.File + ": nothing has changed"}
			}
			for _, text := range done.Changed {
				if _, err := fmt.Fprintln(out, config.Printable(text)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	s.addFile(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// codeConfig is by which word a configuration that was not taken travels over the
// control socket.
const codeConfig = "bad-config"

// reloaded says what a reload has changed.
type reloaded struct {
	File    string   `json:"file"`
	Changed []string `json:"changed"` // in words
}

// reloader gives a running daemon another configuration.
type reloader struct {
	// Static.
	settings *settings
	server   *collector.Server
	journal  *journal.Journal
	level    *slog.LevelVar
	log      *slog.Logger

	mu  sync.Mutex
	cfg config.Collector // that holds
}

// reload reads the file and takes what it says, all or nothing. The error is a
// [control.Refusal].
func (r *reloader) reload() (done reloaded, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer service.Reloading(r.log)()
	done.File, done.Changed = r.settings.file, []string{}
	if err := r.take(&done); err != nil {
		r.log.Error("the configuration was not taken: the old one holds", "file", done.File, "error", err)
		return done, &control.Refusal{Code: codeConfig, Message: "nothing is changed: " + err.Error()}
	}
	r.log.Info("the configuration was read again", "file", done.File, "changed", done.Changed)
	return done, nil
}

func (r *reloader) take(done *reloaded) error {
	if r.settings.file == "" {
		return errors.New("the daemon was started without --config, so there is no file to read again")
	}
	c, err := r.settings.load()
	if err != nil {
		return err
	}
	if err := fixed(&r.cfg, &c); err != nil {
		return fmt.Errorf("%s: %w", done.File, err)
	}
	if c.Heartbeat != r.cfg.Heartbeat {
		if err := r.server.SetHeartbeat(c.Heartbeat); err != nil {
			return err
		}
		done.Changed = append(done.Changed, "another heartbeat, for links from now on")
	}
	if c.Retention != r.cfg.Retention {
		if err := r.journal.SetRetention(c.Retention.Age, int64(c.Retention.Size)); err != nil { // they have been checked
			return err
		}
		done.Changed = append(done.Changed, "another retention")
	}
	if c.Log.Level != r.cfg.Log.Level {
		r.level.Set(c.Log.Level)
		done.Changed = append(done.Changed, "another log level")
	}
	r.cfg = c
	return nil
}

// fixed returns an error if c asks for what takes a restart.
func fixed(old, c *config.Collector) error {
	rest, now := *old, *c // of the keys that are not named below, those that may change apart
	for _, r := range []*config.Collector{&rest, &now} {
		r.Retention, r.Heartbeat, r.Log.Level = config.Retention{}, 0, 0
	}
	for _, f := range []struct {
		key      string
		old, new any
	}{
		{"listen", old.Listen, c.Listen}, {"http", old.HTTP, c.HTTP}, {"dir", old.Dir, c.Dir}, {"replaces", old.Replaces, c.Replaces},
		{"log.format", old.Log.Format, c.Log.Format}, {"tls", []any{old.TLS, old.Authority}, []any{c.TLS, c.Authority}},
		{"limits", old.Limits, c.Limits}, {"agent_metrics", old.AgentMetrics, c.AgentMetrics}, {"insecure_plaintext", old.Plaintext, c.Plaintext}, {"one of the keys", rest, now},
	} {
		if !reflect.DeepEqual(f.old, f.new) {
			return fmt.Errorf("%s: it takes a restart", f.key)
		}
	}
	return nil
}

// onHangup reloads at each SIGHUP until ctx ends, if there is a file to read again.
func (r *reloader) onHangup(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	if r.settings.file != "" {
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	}
	for {
		select {
		case <-hangup:
			_, _ = r.reload() // it is in the log
		case <-ctx.Done():
			return nil
		}
	}
}
