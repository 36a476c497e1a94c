package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/windows"

	"github.com/fieldpost/fieldpost/internal/durable"
)

func upgradeCommand(d Daemon) *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Put this program in the place of the installed one, and restart the service",
		Long: `Run it with the new program, from any folder: it takes the place of the one that the
service starts, and a service that runs is restarted with it. The old one may be
running; nothing in the service's folder is touched. If the service does not start
with the new program the old one is put back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := privileged(); err != nil {
				return err
			}
			s := scm{d}
			installed, err := s.program()
			if err != nil {
				return err
			}
			u := upgrade{w: cmd.OutOrStdout(), from: d.Program, to: installed, settle: 5 * time.Second, service: s}
			return u.run(cmd.Context())
		},
	}
}

// upgrade replaces a service's program.
type upgrade struct {
	w        io.Writer
	from, to string        // paths of executables
	settle   time.Duration // so long the service must run with the new program
	service  interface {
		state() string
		start() error
		stop() error
	}
}

func (u *upgrade) run(ctx context.Context) error {
	sweep(u.to)
	if same, err := sameFile(u.from, u.to); err != nil || same {
		if err == nil {
			err = fmt.Errorf("%s is the installed program itself; run the new one", u.to)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	version, err := exec.CommandContext(ctx, u.from, "version").Output()
	if err != nil {
		return fmt.Errorf("%s does not run on this machine: %w", u.from, err)
	}
	fresh, old := u.to+".new", u.to+".old"
	defer os.Remove(fresh)
	if err := errors.Join(copyFile(u.from, fresh), copyFile(u.to, old)); err != nil {
		return err
	}
	wasRunning := u.service.state() == running
	if wasRunning {
		if err := u.service.stop(); err != nil {
			return fmt.Errorf("stop the service: %w", err)
		}
	}
	err = replace(fresh, u.to)
	if err != nil {
		err = fmt.Errorf("put the new program in place: %w", err)
	}
	if wasRunning {
		if serr := u.start(); err == nil && serr != nil {
			err = fmt.Errorf("the service does not start with the new program, the old one is back: %w", serr)
			err = errors.Join(err, replace(old, u.to), u.service.start())
		} else {
			err = errors.Join(err, serr)
		}
	}
	if err != nil {
		return err
	}
	sweep(u.to)
	_, err = fmt.Fprintf(u.w, "%s is now %s\n", u.to, strings.TrimSpace(string(version)))
	return err
}

// start starts the service and sees that it stays: it says that it runs before it has
// opened its folder, which the new program may refuse.
func (u *upgrade) start() error {
	if err := u.service.start(); err != nil {
		return err
	}
	for until := time.Now().Add(u.settle); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if s := u.service.state(); s != running {
			return fmt.Errorf("it is %s soon after its start", s)
		}
	}
	return nil
}

// replace puts a file in a program's place: in one step, or where a process still
// runs the program, whose file can then be renamed and not replaced, in two.
func replace(from, program string) error {
	err := os.Rename(from, program)
	if err == nil {
		return nil
	}
	aside := fmt.Sprintf("%s.old-%d", program, time.Now().UnixNano())
	if rerr := os.Rename(program, aside); rerr != nil {
		return errors.Join(err, rerr)
	}
	if err := os.Rename(from, program); err != nil {
		return errors.Join(err, os.Rename(aside, program))
	}
	return nil
}

// sweep removes what upgrades have left beside a program. What a process still runs
// goes when the machine starts again.
func sweep(program string) {
	dir, base := filepath.Split(program)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base+".old") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if os.Remove(path) == nil {
			continue
		}
		if name, err := windows.UTF16PtrFromString(path); err == nil {
			windows.MoveFileEx(name, nil, windows.MOVEFILE_DELAY_UNTIL_REBOOT)
		}
	}
}

func sameFile(a, b string) (bool, error) {
	ai, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	bi, err := os.Stat(b)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ai, bi), err
}

// copyFile copies a program and makes the copy durable. A missing one is no error:
// there is nothing then to go back to.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	return durable.WriteWith(to, 0o755, func(f *os.File) error {
		_, err := io.Copy(f, in)
		return err
	})
}
