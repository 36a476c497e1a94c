package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

const (
	notOurs  = "name another folder with --dir, or restore this one"
	noAccess = "run this as the user who owns the folder, or as root (sudo); or name another one with --dir"
	noFolder = "name another folder with --dir"
)

// outcomes says, for each error of the agent, what a command's exit code is, by
// which word the error travels over the control socket, and what to do next where
// the error cannot know it.
var outcomes = []struct {
	err  error
	word string
	code daemon.Code
	next string
}{
	// An error that wraps another of these has the code of the first in this list.
	{agent.ErrUncertain, "uncertain", daemon.Unknown, ""},
	{control.ErrNoAnswer, "no-answer", daemon.Unknown, ""},
	{agent.ErrFull, "full", daemon.TryLater, ""},
	{errDiskFull, "disk-full", daemon.TryLater, ""},
	{errQuota, "quota", daemon.TryLater, ""},
	{agent.ErrInUse, "in-use", daemon.TryLater, ""},
	{agent.ErrClosed, "closed", daemon.TryLater, ""},
	{agent.ErrNewer, "newer", daemon.BadConfig, ""},
	{agent.ErrIdentity, "identity", daemon.BadConfig, ""},
	{errConfig, "bad-config", daemon.BadConfig, ""},
	{agent.ErrUnknownLane, "unknown-lane", daemon.BadConfig, ""},
	{agent.ErrDropped, "dropped", daemon.No, ""},
	{agent.ErrTooLarge, "too-large", daemon.No, ""},
	{agent.ErrNoLetter, "no-letter", daemon.No, ""},
	{agent.ErrNothing, "nothing", daemon.No, ""},
	{agent.ErrReceipt, "receipt", daemon.No, ""},
	{agent.ErrBadFile, "bad-file", daemon.No, ""},
	{agent.ErrNotAQueue, "not-a-queue", daemon.No, notOurs},
	{fs.ErrPermission, "permission", daemon.No, noAccess},
	{syscall.EROFS, "read-only", daemon.No, noAccess},
	{context.Canceled, "canceled", daemon.TryLater, ""},
	{context.DeadlineExceeded, "timeout", daemon.TryLater, ""},
}

// passes reports whether an error may be another one the next time.
func passes(err error) bool {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return o.code == daemon.TryLater || o.code == daemon.Unknown
		}
	}
	return false
}

// withCode gives err its exit code.
func withCode(err error) error {
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			if o.next != "" {
				err = fmt.Errorf("%w; %s", err, o.next)
			}
			return daemon.WithCode(o.code, err)
		}
	}
	if made := new(fs.PathError); errors.As(err, &made) && made.Op == "mkdir" {
		return fmt.Errorf("%w; %s", err, noFolder)
	}
	return err
}

// refusal makes of err what the control socket carries.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	for _, o := range outcomes {
		if errors.Is(err, o.err) {
			return &control.Refusal{Code: o.word, Message: err.Error()}
		}
	}
	return err
}

// refused gives what came over the control socket the exit code that the error
// had for the daemon.
func refused(err error) error {
	var no *control.Refusal
	if !errors.As(err, &no) {
		return withCode(err)
	}
	for _, o := range outcomes {
		if no.Code == o.word {
			return daemon.WithCode(o.code, err)
		}
	}
	return err
}
