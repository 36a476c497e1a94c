//go:build !windows

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

// library is the service system that the library has found: systemd with a unit of
// ours, or OpenRC, SysV, launchd with what it writes for them.
type library struct {
	d       Daemon
	service service.Service
}

// idle stands where the library wants a program; here it only steers one.
type idle struct{}

func (idle) Start(service.Service) error { return nil }
func (idle) Stop(service.Service) error  { return nil }

func newSystem(d Daemon) (system, error) {
	s, err := service.New(idle{}, &service.Config{
		Name: d.Name, DisplayName: d.Name, Description: d.Description,
		Executable: d.Program, Arguments: d.Args, UserName: d.User,
		Option: service.KeyValue{"SystemdScript": d.Unit(), "Restart": "always"},
	})
	if err != nil {
		return nil, err
	}
	return &library{d, s}, nil
}

func (l *library) Platform() string { return l.service.Platform() }

func (l *library) systemd() bool { return l.service.Platform() == "linux-systemd" }

func (l *library) register(io.Writer) step {
	if l.packaged() {
		return l.enable()
	}
	s := step{what: fmt.Sprintf("register the service %s (%s)", l.d.Name, l.service.Platform()), do: l.service.Install}
	if !l.systemd() {
		s.done = l.installed
		return s
	}
	path, unit := filepath.Join(unitFolder, l.d.Name+".service"), []byte(l.d.Unit())
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
		if err := l.service.Install(); err != nil {
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

func (l *library) unregister() error { return l.service.Uninstall() }

func (l *library) installed() (bool, error) {
	if p := l.service.Platform(); p == "unix-systemv" || p == "linux-openrc" { // their status says nothing of it
		_, err := os.Stat(filepath.Join("/etc/init.d", l.d.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	_, err := l.service.Status()
	return !errors.Is(err, service.ErrNotInstalled), nil
}

func (l *library) state() string {
	s, err := l.service.Status()
	there, ierr := l.installed()
	switch {
	case ierr == nil && !there:
		return notInstalled
	case err != nil:
		return failed
	case s == service.StatusRunning:
		return running
	}
	return stopped
}

func (l *library) start() error   { return l.service.Start() }
func (l *library) stop() error    { return l.service.Stop() }
func (l *library) restart() error { return l.service.Restart() }

func (l *library) hint() string {
	if l.systemd() {
		return fmt.Sprintf(`"journalctl -u %s -n 20" says why`, l.d.Name)
	}
	return ""
}
