package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/service"
)

// askEvery is how often a daemon that is enrolled nowhere looks whether it is by now.
const askEvery = time.Second

// awaitCollector sees that c has a collector, as findCollector does, and waits for
// the enrolment if there is none: a package starts its service before anybody can
// have enrolled the machine. Until then the folder is left as it is, so that the
// enrolment can still say whose it is. It returns ctx's error if that ends first.
func awaitCollector(ctx context.Context, c *config.Agent, log *slog.Logger) error {
	err := findCollector(c)
	if !errors.Is(err, errNoCollector) || c.Plaintext {
		return err
	}
	if _, err := agent.ReadStatus(c.Dir); errors.Is(err, agent.ErrNewer) { // an enrolment would not help
		return withCode(err)
	}
	log.Warn("this agent is not enrolled and has no collector: it waits, and takes no messages yet", "dir", c.Dir,
		"next", "agent enroll --dir "+c.Dir+" --collector HOST:PORT --token-file FILE, with a token of \"collector token create\"")
	waiting, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		service.NotifyWaiting(waiting, log, "not enrolled yet")
	}()
	defer func() { cancel(); <-told }()
	t := time.NewTicker(askEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := agent.ReadEnrolment(c.Dir); !errors.Is(err, fs.ErrNotExist) {
			return findCollector(c)
		}
	}
}
