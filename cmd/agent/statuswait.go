package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// lookEvery is how often "agent status --wait" looks.
const lookEvery = 200 * time.Millisecond

// awaitLink returns the status of the agent that has dir as soon as it has a link on
// which a heartbeat was answered. If that does not come about within limit, the error
// says how it stands instead.
func awaitLink(ctx context.Context, dir string, limit time.Duration) (fullStatus, error) {
	until := time.NewTimer(limit)
	defer until.Stop()
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		st, err := status(ctx, dir)
		if err == nil && st.Link.State == "connected" && st.Link.RTT > 0 {
			return st, nil
		}
		if errors.Is(err, agent.ErrNewer) || errors.Is(err, fs.ErrPermission) { // waiting does not help
			return st, err
		}
		select {
		case <-t.C:
		case <-until.C:
			return st, daemon.WithCode(daemon.Unreachable, fmt.Errorf("no heartbeat was answered within %s: %w", config.Duration(limit), stands(&st, err)))
		case <-ctx.Done():
			return st, withCode(ctx.Err())
		}
	}
}

// stands says how an agent stands that has no link.
func stands(st *fullStatus, err error) error {
	switch l := st.Link; {
	case err != nil:
		return err
	case l.State == "stopped":
		return errors.New("no agent runs on the folder; start it")
	case l.Error != "":
		return fmt.Errorf("the link is %s, %s: %s", l.State, l.Cause, config.Printable(l.Error))
	default:
		return fmt.Errorf("the link is %s", l.State)
	}
}
