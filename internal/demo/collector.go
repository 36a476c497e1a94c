package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
)

func collectorCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "demo-collector", Hidden: true, Args: cobra.NoArgs,
		Short: "The collector process of the demo",
		RunE: func(c *cobra.Command, _ []string) error {
			stop, _ := childContext(c.Context(), c.InOrStdin())
			return collect(stop, dir, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the collector's folder")
	return c
}

// collect runs a collector on a free port, which it prints, until ctx ends.
func collect(ctx context.Context, dir string, out io.Writer) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	store, err := journal.Open(journal.Options{Dir: dir, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	registry, err := enroll.Create(enroll.Options{Dir: dir, Logger: logger})
	if err != nil {
		return err
	}
	secure, err := registry.ServerConfig()
	if err != nil {
		return err
	}
	server, err := collector.New(collector.Config{Store: store, TLS: secure, Admit: registry.Admit, Enroll: registry.Enroll, Heartbeat: heartbeat, Logger: logger})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	return server.Serve(ctx, l)
}
