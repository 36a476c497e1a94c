package service

import (
	"errors"

	"github.com/spf13/cobra"
)

func (m *Manager) packaged() bool { return false }

func (m *Manager) enable() step {
	return step{what: "enable a package's service", do: func() error { return errors.New("Windows has none") }}
}

func packageCommands(Daemon) []*cobra.Command { return nil }
