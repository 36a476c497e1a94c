package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/export"
)

func exportCommand() *cobra.Command {
	var s settings
	var f export.Filter
	c := &cobra.Command{
		Use:   "export",
		Short: "Print all stored messages as JSON lines",
		Long: `Prints what is stored, from the beginning to what is there now. It may run beside a
collector.

` + lineHelp + `

What is damaged is left out and told at the end; the exit code is then 1.`,
		Example: `  collector export --format jsonl > all.jsonl
  collector export --agent pump-7 --since 2026-01-31T00:00:00Z --until 2026-02-01T00:00:00Z
  collector export --topic 'host/*' --since 1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err != nil {
				return err
			}
			return exportTo(cmd.Context(), cmd.OutOrStdout(), c.Dir, f)
		},
	}
	s.addFile(c.Flags())
	c.Flags().Var(daemon.NewValue("FORMAT", "jsonl", func(v string) error {
		if v != "jsonl" {
			return fmt.Errorf("%.40q is not a format; write jsonl", v)
		}
		return nil
	}), "format", "jsonl: a JSON object a line")
	addFilter(c.Flags(), &f)
	addTimes(c.Flags(), &f, time.Now())
	return c
}

func exportTo(ctx context.Context, to io.Writer, dir string, f export.Filter) error {
	r, err := journal.OpenReader(dir)
	if err != nil {
		return withCode(err)
	}
	w := bufio.NewWriterSize(to, 64<<10)
	_, err = r.Read(ctx, "", export.Lines(f, func(line []byte) error {
		_, err := w.Write(line)
		return err
	}))
	if ferr := w.Flush(); ferr != nil && !errors.Is(err, ferr) {
		err = errors.Join(err, ferr)
	}
	if ctx.Err() != nil {
		return daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted: what was printed is not all: %w", err))
	}
	return withCode(err)
}
