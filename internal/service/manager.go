package service

import (
	"fmt"
	"io"
	"path/filepath"
)

// Manager installs one daemon and steers it.
type Manager struct {
	d      Daemon
	system system
}

// New returns a manager for the service system that this machine has. It changes
// nothing. An error means that there is none.
func New(d Daemon) (*Manager, error) {
	s, err := newSystem(d)
	if err != nil {
		return nil, fmt.Errorf("this machine has no service system that is known: %w", err)
	}
	return &Manager{d, s}, nil
}

// Platform names the service system.
func (m *Manager) Platform() string { return m.system.Platform() }

// Install makes the account, the folders, the configuration if there is none, and
// the service; it does not start it. What is done already is left alone. With dry it
// only says what it would do. Who may not is told so at once.
func (m *Manager) Install(w io.Writer, config []byte, dry bool) error {
	if err := privileged(); err != nil && !dry {
		return err
	}
	own := ownerOf(&m.d)
	return run(w, dry, []step{
		account(&m.d),
		folder(filepath.Dir(m.d.Config), 0o755, ""),
		file(m.d.Config, config, 0o640, true, own),
		folder(filepath.Dir(m.d.Data), 0o755, ""),
		folder(m.d.Data, 0o700, own),
		m.system.register(w),
	})
}

// Uninstall stops the service and takes it away. The data, the configuration and
// the account stay, unless purge is set.
func (m *Manager) Uninstall(w io.Writer, purge, dry bool) error {
	if err := privileged(); err != nil && !dry {
		return err
	}
	if m.system.packaged() {
		return fmt.Errorf("%[1]s belongs to the package %[1]s: remove that (apt remove, dnf remove, apk del); the data stays, apt purge removes it too", m.d.Name)
	}
	gone := func() (bool, error) {
		there, err := m.system.installed()
		return !there, err
	}
	steps := []step{
		{what: "stop the service " + m.d.Name, do: m.system.stop, done: func() (bool, error) {
			s := m.Status()
			return s == notInstalled || s == stopped, nil
		}},
		{what: "take the service " + m.d.Name + " away", do: m.system.unregister, done: gone},
	}
	if purge {
		steps = append(steps, remove(m.d.Data), remove(m.d.Config))
	}
	if err := run(w, dry, steps); err != nil || purge {
		return err
	}
	fmt.Fprintf(w, "  %s and %s stay; --purge removes them too\n", m.d.Data, m.d.Config)
	return nil
}

// Start, Stop and Restart steer the service. They return when the service system
// says that it is done.
func (m *Manager) Start() error   { return m.steer(m.system.start) }
func (m *Manager) Stop() error    { return m.steer(m.system.stop) }
func (m *Manager) Restart() error { return m.steer(m.system.restart) }

func (m *Manager) steer(do func() error) error {
	if err := privileged(); err != nil {
		return err
	}
	if there, err := m.system.installed(); err != nil {
		return err
	} else if !there {
		return fmt.Errorf("%s is not installed; \"service install\" does that", m.d.Name)
	}
	err := do()
	if hint := m.system.hint(); err != nil && hint != "" {
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}

// Status is "running", "stopped", "failed" or "not installed".
func (m *Manager) Status() string { return m.system.state() }
