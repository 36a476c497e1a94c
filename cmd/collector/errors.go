package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// withCode gives err its exit code and says what to do next.
func withCode(err error) error {
	switch {
	case errors.Is(err, journal.ErrLocked):
		return daemon.WithCode(daemon.TryLater, fmt.Errorf("%w; stop that collector or use another --dir", err))
	case errors.Is(err, journal.ErrNewer):
		return daemon.WithCode(daemon.BadConfig, err)
	case errors.Is(err, journal.ErrRemoved):
		return daemon.WithCode(daemon.TryLater, err)
	case errors.Is(err, journal.ErrNone):
		return daemon.WithCode(daemon.No, fmt.Errorf("%w; name a collector's folder with --dir", err))
	case errors.Is(err, journal.ErrCursor):
		return daemon.WithCode(daemon.Usage, fmt.Errorf("%w; --after takes what tail has printed for this journal", err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as the user who owns the collector's folder, or give the folder and all in it to this one", err)
	case errors.Is(err, control.ErrNoAnswer):
		return daemon.WithCode(daemon.Unreachable, err)
	}
	if made := new(fs.PathError); errors.As(err, &made) && made.Op == "mkdir" {
		return fmt.Errorf("%w; name another folder with --dir", err)
	}
	return err
}
