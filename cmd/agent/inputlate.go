package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/input/tail"
)

// lateFiles reads files once all lanes are open: a lane that cannot be opened knows
// how far they were read, and whoever does not ask it reads them twice.
type lateFiles struct {
	agent *agent.Agent
	rules []tail.Rule
	log   *slog.Logger

	mu sync.Mutex
	in input.Input // nil until all lanes are open
}

// Run is of [input.Input].
func (l *lateFiles) Run(ctx context.Context) error {
	if err := l.agent.Ready(ctx); err != nil {
		return nil // the daemon ends
	}
	l.mu.Lock()
	if l.in == nil {
		feed, err := input.NewFeed(l.agent, l.log)
		if err != nil {
			l.mu.Unlock()
			return err
		}
		l.in = tail.New(feed, tail.Config{Rules: l.rules, Logger: l.log})
	}
	in := l.in
	l.mu.Unlock()
	return in.Run(ctx)
}

// Status is of [input.Input].
func (l *lateFiles) Status() input.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.in != nil {
		return l.in.Status()
	}
	name := ""
	if len(l.rules) > 0 && len(l.rules[0].Paths) > 0 {
		name = l.rules[0].Paths[0]
	}
	return input.Status{Kind: "file", Name: name, State: input.Waiting, Trouble: "nothing is read until all lanes are open: see the lanes"}
}

// newFiles returns what reads files.
func newFiles(a *agent.Agent, rules []tail.Rule, log *slog.Logger) (input.Input, error) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if a.Ready(now) != nil {
		return &lateFiles{agent: a, rules: rules, log: log}, nil
	}
	feed, err := input.NewFeed(a, log)
	if err != nil {
		return nil, err
	}
	return tail.New(feed, tail.Config{Rules: rules, Logger: log}), nil
}
