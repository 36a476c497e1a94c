//go:build !windows

package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// packageFolders is where the units of packages are.
var packageFolders = []string{"/usr/lib/systemd/system", "/lib/systemd/system"}

// packaged reports whether a package has brought the service's unit, and no other one
// stands before it.
func (l *library) packaged() bool {
	if !l.systemd() {
		return false
	}
	name := l.d.Name + ".service"
	if _, err := os.Lstat(filepath.Join(unitFolder, name)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	for _, folder := range packageFolders {
		if have, err := os.ReadFile(filepath.Join(folder, name)); err == nil && bytes.Equal(have, []byte(l.d.Unit())) {
			return true
		}
	}
	return false
}

// enable is the step that lets the package's service start with the machine.
func (l *library) enable() step {
	return step{
		what: fmt.Sprintf("enable the service %s of the package", l.d.Name),
		done: func() (bool, error) {
			out, err := exec.Command("systemctl", "is-enabled", l.d.Name).Output()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				err = nil // disabled
			}
			return strings.TrimSpace(string(out)) == "enabled", err
		},
		do: func() error { return command("systemctl", "enable", l.d.Name) },
	}
}

// platformCommands returns what a package's scripts call.
func platformCommands(s Setup) []*cobra.Command {
	return []*cobra.Command{{
		Use:    "prepare",
		Short:  "Make the account and the folders, and give the account its configuration",
		Long:   "Does what a package cannot carry in itself. What is done already is left alone.",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return prepare(cmd.OutOrStdout(), s.Daemon) },
	}}
}

// prepare makes the account and the folders, and gives the account the configuration
// that a package has laid down.
func prepare(w io.Writer, d Daemon) error {
	if err := privileged(); err != nil {
		return err
	}
	own := ownerOf(&d)
	steps := []step{
		account(&d),
		folder(filepath.Dir(d.Config), 0o755, ""),
		folder(filepath.Dir(d.Data), 0o755, ""),
		folder(d.Data, 0o700, own),
	}
	if _, err := os.Lstat(d.Config); err == nil {
		steps = append(steps, step{what: "give " + d.Config + " to " + d.User, do: func() error { return own.give(d.Config) }})
	}
	return run(w, false, steps)
}
