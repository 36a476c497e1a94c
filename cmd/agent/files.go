package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/input/tail"
)

// feeder has the one feed of an agent: it knows how far files were read, also what is
// in doubt because it was interrupted, so whoever reads files next goes on with it.
type feeder struct {
	agent *agent.Agent
	log   *slog.Logger

	mu   sync.Mutex
	feed *input.Feed // nil until all lanes are open
}

// get waits until all lanes are open, and returns the feed: a lane that cannot be opened
// knows how far files were read, and whoever does not ask it reads them twice.
func (f *feeder) get(ctx context.Context) (*input.Feed, error) {
	if err := f.agent.Ready(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feed == nil {
		feed, err := input.NewFeed(f.agent, f.log)
		if err != nil {
			return nil, err
		}
		f.feed = feed
	}
	return f.feed, nil
}

// files reads files, once there is a feed.
type files struct {
	feeder *feeder
	rules  []tail.Rule
	log    *slog.Logger

	mu sync.Mutex
	in input.Input // nil until there is a feed
}

// Run is of [input.Input].
func (f *files) Run(ctx context.Context) error {
	feed, err := f.feeder.get(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	if f.in == nil {
		f.in = tail.New(feed, tail.Config{Rules: f.rules, Logger: f.log})
	}
	in := f.in
	f.mu.Unlock()
	return in.Run(ctx)
}

// Status is of [input.Input].
func (f *files) Status() input.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in != nil {
		return f.in.Status()
	}
	name := ""
	if len(f.rules) > 0 && len(f.rules[0].Paths) > 0 {
		name = f.rules[0].Paths[0]
	}
	return input.Status{Kind: "file", Name: name, State: input.Waiting, Trouble: "nothing is read until all lanes are open: see the lanes"}
}
