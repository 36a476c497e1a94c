package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kardianos/service"
)

// unitFolder is where a machine's own units are; a package's are elsewhere.
const unitFolder = "/etc/systemd/system"

// Manager installs one daemon and steers it.
type Manager struct {
	d       Daemon
	service service.Service
	systemd bool
}

// idle stands where kardianos/service wants a program; here it only steers one.
type idle struct{}

func (idle) Start(service.Service) error { return nil }
func (idle) Stop(service.Service) error  { return nil }

// New returns a manager for the service system that this machine has. It changes
// nothing. An error means that there is none.
func New(d Daemon) (*Manager, error) {
	unit := d.Unit()
	s, err := service.New(idle{}, &service.Config{
		Name: d.Name, DisplayName: d.Name, Description: d.Description,
		Executable: d.Program, Arguments: d.Args, UserName: d.User,
		Option: service.KeyValue{"SystemdScript": unit, "Restart": "always"},
	})
	if err != nil {
		return nil, fmt.Errorf("this machine has no service system that is known: %w", err)
	}
	return &Manager{d, s, s.Platform() == "linux-systemd"}, nil
}

// Platform names the service system.
func (m *Manager) Platform() string { return m.service.Platform() }

// Install makes the account, the folders, the configuration if there is none, and
// the service; it does not start it. What is done already is left alone. With dry it
// only says what it would do. Who may not is told so at once.
func (m *Manager) Install(w io.Writer, config []byte, dry bool) error {
	if err := privileged(); err != nil && !dry {
		return err
	}
	own := owner(m.d.User)
	return run(w, dry, []step{
		account(m.d.User),
		folder(filepath.Dir(m.d.Config), 0o755, ""),
		file(m.d.Config, config, 0o640, true, own),
		folder(filepath.Dir(m.d.Data), 0o755, ""),
		folder(m.d.Data, 0o700, own),
		m.register(),
	})
}

// register is the step that tells the service system of the daemon.
func (m *Manager) register() step {
	if m.packaged() {
		return m.enable()
	}
	s := step{what: fmt.Sprintf("register the service %s (%s)", m.d.Name, m.service.Platform()), do: m.service.Install}
	if !m.systemd {
		s.done = m.installed
		return s
	}
	path, unit := filepath.Join(unitFolder, m.d.Name+".service"), []byte(m.d.Unit())
	s.done = func() (bool, error) {
		have, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return bytes.Equal(have, unit), err
	}
	s.do = func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := m.service.Install(); err != nil {
			return err
		}
		// A template that cannot be rendered leaves an empty unit and no error.
		have, err := os.ReadFile(path)
		if err == nil && !bytes.Equal(have, unit) {
			err = fmt.Errorf("%s has %d bytes, not the %d that were to be written", path, len(have), len(unit))
		}
		return err
	}
	return s
}

// Uninstall stops the service and takes it away. The data, the configuration and
// the account stay, unless purge is set.
func (m *Manager) Uninstall(w io.Writer, purge, dry bool) error {
	if err := privileged(); err != nil && !dry {
		return err
	}
	if m.packaged() {
		return fmt.Errorf("%[1]s belongs to the package %[1]s: remove that (apt remove, dnf remove, apk del); the data stays, apt purge removes it too", m.d.Name)
	}
	gone := func() (bool, error) {
		there, err := m.installed()
		return !there, err
	}
	steps := []step{
		{what: "stop the service " + m.d.Name, do: m.service.Stop, done: func() (bool, error) {
			s := m.Status()
			return s == "not installed" || s == "stopped", nil
		}},
		{what: "take the service " + m.d.Name + " away", do: m.service.Uninstall, done: gone},
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
func (m *Manager) Start() error   { return m.steer(m.service.Start) }
func (m *Manager) Stop() error    { return m.steer(m.service.Stop) }
func (m *Manager) Restart() error { return m.steer(m.service.Restart) }

func (m *Manager) steer(do func() error) error {
	if err := privileged(); err != nil {
		return err
	}
	if there, err := m.installed(); err != nil {
		return err
	} else if !there {
		return fmt.Errorf("%s is not installed; \"service install\" does that", m.d.Name)
	}
	if err := do(); err != nil {
		if m.systemd {
			return fmt.Errorf("%w; \"journalctl -u %s -n 20\" says why", err, m.d.Name)
		}
		return err
	}
	return nil
}

// installed reports whether the service system knows the daemon.
func (m *Manager) installed() (bool, error) {
	if p := m.service.Platform(); p == "unix-systemv" || p == "linux-openrc" { // their status says nothing of it
		_, err := os.Stat(filepath.Join("/etc/init.d", m.d.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	_, err := m.service.Status()
	return !errors.Is(err, service.ErrNotInstalled), nil
}

// Status is "running", "stopped", "failed" or "not installed".
func (m *Manager) Status() string {
	s, err := m.service.Status()
	there, ierr := m.installed()
	switch {
	case ierr == nil && !there:
		return "not installed"
	case err != nil:
		return "failed"
	case s == service.StatusRunning:
		return "running"
	}
	return "stopped"
}
