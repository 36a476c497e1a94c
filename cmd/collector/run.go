package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/service"
)

func runCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "run",
		Short: "Store what agents send",
		Long: `Listens for agents, stores what they send in the journal of its folder, and tells
them once it is on disk. It serves /healthz (the process runs), /readyz (it listens
and its disk takes writes) and Prometheus /metrics on another address.

On SIGTERM or Ctrl-C what has come whole is stored, the agents are told, and it
exits 0. They connect again by themselves, and nothing is lost by a kill either.

Links are encrypted and both sides known by certificates: with the first start it
makes an authority of its own in its folder, and "collector token create" prints the
command with which a machine enrols. Certificates from elsewhere are named under tls
in the configuration. --insecure-plaintext makes links plain TCP.

If another collector has the folder the exit code is 75.`,
		Example: `  collector run
  collector run --dir /var/lib/fieldpost --listen 0.0.0.0:4717 --http off
  collector run --config collector.yaml
  collector run --dir ./restored --replaces any`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			if err := daemon.ActAsOwner(c.Dir); err != nil {
				return err
			}
			level := new(slog.LevelVar)
			level.Set(c.Log.Level)
			return run(cmd.Context(), &s, c, level, daemon.LeveledLogger(cmd.ErrOrStderr(), c.Log.Format, level))
		},
	}
	s.addFile(c.Flags())
	s.addServer(c.Flags())
	return c
}

// run is the daemon, until ctx ends or something it needs fails. level is log's; s reads
// the settings again.
func run(ctx context.Context, s *settings, c config.Collector, level *slog.LevelVar, log *slog.Logger) (err error) {
	j, err := journal.Open(journal.Options{Dir: c.Dir, Logger: log, Replaces: c.Replaces.Stores, ReplacesAny: c.Replaces.Any,
		MaxAge: c.Retention.Age, MaxBytes: int64(c.Retention.Size),
		MaxAgents: c.Limits.Agents, MaxStreams: c.Limits.Streams})
	if err != nil {
		return withCode(err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	sec, err := newSecurity(&c, log)
	if err != nil {
		return withCode(err)
	}
	cfg := collector.Config{Store: j, Heartbeat: c.Heartbeat, Logger: log}
	if err := sec.apply(&cfg); err != nil {
		return err
	}
	srv, err := collector.New(cfg)
	if err != nil {
		return err
	}
	sec.server.Store(srv)
	agents, err := listen(c.Listen, "--listen")
	if err != nil {
		return err
	}
	re := &reloader{settings: s, server: srv, journal: j, level: level, log: log, cfg: c}
	services := []func(context.Context) error{
		func(ctx context.Context) error { return srv.Serve(ctx, agents) },
		sec.watch,
		re.onHangup,
	}
	closers := []net.Listener{agents}
	defer func() {
		for _, l := range closers { // those that no service has taken
			l.Close()
		}
	}()
	socket, err := control.ListenSoon(c.Dir, log)
	if err != nil {
		return err
	}
	closers = append(closers, socket)
	services = append(services, func(ctx context.Context) error {
		return control.Serve(ctx, socket, handler(srv, j, sec, re, agents.Addr().String()), time.Second)
	})
	address := config.Off
	services = append(services, func(ctx context.Context) error {
		service.Notify(ctx, log, func() { j.Stats() })
		return nil
	})
	if c.HTTP != "" {
		pages, err := listen(c.HTTP, "--http")
		if err != nil {
			return err
		}
		closers = append(closers, pages)
		address = pages.Addr().String()
		services = append(services, func(ctx context.Context) error {
			return servePages(ctx, pages, srv, j, sec, c.Dir, c.AgentMetrics)
		})
	}
	log.Info("the collector is open", "listen", agents.Addr().String(), "http", address, "dir", c.Dir,
		"store", j.Identity().ID, "version", daemon.Version())
	sec.announce(agents.Addr().String())
	closers = nil
	err = together(ctx, services)
	log.Info("the collector has stopped")
	return err
}

// listen listens on a TCP address; flag names where it can be changed.
func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w; another address can be set with %s", err, flag)
	}
	return l, nil
}

// together runs all services until ctx ends or one of them returns, and returns
// when all have.
func together(ctx context.Context, services []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(services))
	var all sync.WaitGroup
	for i, serve := range services {
		all.Go(func() {
			defer cancel()
			errs[i] = serve(ctx)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
