package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look into an agent's queue, and repair it",
	}
	c.AddCommand(listCommand(), peekCommand(), exportCommand(), receiptCommand(), purgeCommand(), verifyCommand(), repairCommand(), deadCommand())
	return c
}

// folder is an agent's folder and the lanes that a command is about.
type folder struct {
	dir     string
	agent   string
	running bool // an agent that answers has it
	lanes   []string
}

// lookAt finds out whose folder dir is, and which lanes there are: the one that is
// named, else all. Damage to a lane does not keep it from the others. Its error has
// the exit code.
func lookAt(ctx context.Context, dir, lane string) (folder, error) {
	f := folder{dir: dir}
	st, err := askStatus(ctx, dir)
	switch {
	case errors.Is(err, control.ErrNoAnswer):
		return f, daemon.WithCode(daemon.Unreachable, err)
	case err == nil:
		f.agent, f.running = st.ID, true
		for _, l := range st.Lanes {
			f.lanes = append(f.lanes, l.Lane)
		}
	case !errors.Is(err, control.ErrNotRunning):
		return f, refused(err)
	default:
		if f.agent, f.lanes, err = agent.ReadLanes(dir); errors.Is(err, fs.ErrNotExist) {
			return f, fmt.Errorf("%w; name an agent's folder with --dir", err)
		}
		if err != nil {
			return f, withCode(err)
		}
	}
	if lane != "" {
		f.lanes = []string{lane}
	}
	return f, nil
}

// askOrRead asks the daemon that has dir, and reads the folder if there is none. The
// error has the exit code; what read returns is returned beside its error.
func askOrRead[T any](dir string, ask, read func() (T, error)) (T, error) {
	got, err := ask()
	if errors.Is(err, control.ErrNotRunning) {
		var none T
		got, err = read()
		if !errors.Is(err, agent.ErrInUse) {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w; name an agent's folder with --dir", err)
			}
			return got, withCode(err)
		}
		// The daemon may have come between the two questions.
		inUse := err
		if got, err = ask(); errors.Is(err, control.ErrNotRunning) {
			return none, withCode(withoutSocket(inUse))
		}
	}
	if errors.Is(err, control.ErrNoAnswer) {
		return got, daemon.WithCode(daemon.Unreachable, err)
	}
	return got, refused(err)
}

// withoutSocket says who has a folder that is in use.
func withoutSocket(err error) error {
	return fmt.Errorf("%w: by a program that no command reaches: it embeds the agent without a control socket, or its folder takes no socket now (disk full or read-only; see its log)", err)
}
