package service

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"
)

// scm is Windows' service manager, as a system and as a registrar.
type scm struct{ d Daemon }

func newSystem(d Daemon) (system, error) { return scm{d}, nil }

func (scm) Platform() string { return "windows-service" }

// with calls f with the service, opened with the rights of access.
func with(name string, managerAccess, access uint32, f func(*mgr.Service) error) error {
	m, err := windows.OpenSCManager(nil, nil, managerAccess)
	if err != nil {
		return fmt.Errorf("open the service manager: %w", err)
	}
	defer windows.CloseServiceHandle(m)
	n, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	h, err := windows.OpenService(m, n, access)
	if err != nil {
		return fmt.Errorf("open the service %s: %w", name, err)
	}
	s := &mgr.Service{Name: name, Handle: h}
	defer s.Close()
	return f(s)
}

// all is with all rights, which administrators have.
func all(name string, f func(*mgr.Service) error) error {
	return with(name, windows.SC_MANAGER_ALL_ACCESS, windows.SERVICE_ALL_ACCESS, f)
}

// commandLine writes a command line. The program is quoted always: a path with a
// space that is not would name another program as well.
func commandLine(program string, args []string) string {
	words := []string{`"` + program + `"`} // no path has a quote
	for _, a := range args {
		words = append(words, syscall.EscapeArg(a))
	}
	return strings.Join(words, " ")
}

func (scm) put(r *registration) (made bool, err error) {
	err = all(r.name, func(s *mgr.Service) error { return update(s.Handle, r) })
	if !errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return false, err
	}
	m, err := mgr.Connect()
	if err != nil {
		return false, fmt.Errorf("open the service manager: %w", err)
	}
	defer m.Disconnect()
	// The library quotes a program only if its path has a space; update quotes it.
	s, err := m.CreateService(r.name, r.program, mgr.Config{
		StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal, ServiceStartName: r.account, DisplayName: r.name,
	}, r.args...)
	if err != nil {
		return false, err
	}
	defer s.Close()
	if err := update(s.Handle, r); err != nil {
		return false, errors.Join(err, s.Delete())
	}
	return true, nil
}

// update gives a service the settings of a registration that every system knows.
func update(h windows.Handle, r *registration) error {
	line, err := windows.UTF16PtrFromString(commandLine(r.program, r.args))
	if err != nil {
		return err
	}
	account, err := windows.UTF16PtrFromString(r.account)
	if err != nil {
		return err
	}
	err = windows.ChangeServiceConfig(h, windows.SERVICE_WIN32_OWN_PROCESS, windows.SERVICE_AUTO_START, windows.SERVICE_ERROR_NORMAL, line, nil, nil, nil, account, nil, nil)
	if err != nil {
		return err
	}
	description, err := windows.UTF16PtrFromString(r.description)
	if err != nil {
		return err
	}
	return change(h, windows.SERVICE_CONFIG_DESCRIPTION, unsafe.Pointer(&windows.SERVICE_DESCRIPTION{Description: description}))
}

// change changes one of a service's further settings.
func change(h windows.Handle, level uint32, info unsafe.Pointer) error {
	return known(windows.ChangeServiceConfig2(h, level, (*byte)(info)))
}

// known returns err, or errNoSetting if that is what it says.
func known(err error) error {
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return errNoSetting
	}
	return err
}

func (scm) delayStart(name string) error {
	return all(name, func(s *mgr.Service) error {
		return change(s.Handle, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&windows.SERVICE_DELAYED_AUTO_START_INFO{IsDelayedAutoStartUp: 1}))
	})
}

func (scm) setServiceSID(name string) error {
	kind := uint32(windows.SERVICE_SID_TYPE_UNRESTRICTED)
	return all(name, func(s *mgr.Service) error {
		return change(s.Handle, windows.SERVICE_CONFIG_SERVICE_SID_INFO, unsafe.Pointer(&kind))
	})
}

func (scm) remove(name string) error {
	return all(name, func(s *mgr.Service) error { return s.Delete() })
}

func (scm) setRecovery(name string, delays []time.Duration, calm time.Duration) error {
	return all(name, func(s *mgr.Service) error {
		var actions []mgr.RecoveryAction
		for _, d := range delays {
			actions = append(actions, mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: d})
		}
		return known(s.SetRecoveryActions(actions, uint32(calm.Seconds())))
	})
}

func (scm) recoverFromErrors(name string) error {
	return all(name, func(s *mgr.Service) error { return known(s.SetRecoveryActionsOnNonCrashFailures(true)) })
}

func (scm) setPreShutdown(name string, d time.Duration) error {
	milliseconds := uint32(d.Milliseconds()) // SERVICE_PRESHUTDOWN_INFO
	return all(name, func(s *mgr.Service) error {
		return change(s.Handle, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, unsafe.Pointer(&milliseconds))
	})
}

func (scm) setPrivileges(name string, list []string) error {
	var block []uint16 // each with a zero, and one more at the end
	for _, p := range list {
		block = append(block, append(utf16.Encode([]rune(p)), 0)...)
	}
	block = append(block, 0)
	info := struct{ list *uint16 }{&block[0]} // SERVICE_REQUIRED_PRIVILEGES_INFO
	return all(name, func(s *mgr.Service) error {
		return change(s.Handle, windows.SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, unsafe.Pointer(&info))
	})
}

func (scm) setEventSource(name string) error {
	err := eventlog.InstallAsEventCreate(name, eventlog.Info|eventlog.Warning|eventlog.Error)
	if err != nil && strings.HasSuffix(err.Error(), "already exists") { // the library has no error of its own for it
		return nil
	}
	return err
}

// register tells the service manager of the daemon. It always does: what is there
// gets the present settings.
func (s scm) register(w io.Writer) step {
	r := s.d.registration()
	return step{
		what: fmt.Sprintf("register the service %s (delayed start, account %s, started again after failures)", r.name, r.account),
		do:   func() error { return r.apply(w, s) },
	}
}

// packaged is always false: the installer has this program register the service.
func (scm) packaged() bool { return false }

func (s scm) unregister() error {
	if err := s.remove(s.d.Name); err != nil {
		return err
	}
	if err := eventlog.Remove(s.d.Name); err != nil && !errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return fmt.Errorf("remove the source of events: %w", err)
	}
	return nil
}

// query returns the service's state.
func (s scm) query() (status svc.Status, err error) {
	err = with(s.d.Name, windows.SC_MANAGER_CONNECT, windows.SERVICE_QUERY_STATUS, func(m *mgr.Service) error {
		status, err = m.Query()
		return err
	})
	return status, err
}

func (s scm) installed() (bool, error) {
	_, err := s.query()
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) || errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE) {
		return false, nil
	}
	return err == nil, err
}

func (s scm) state() string {
	status, err := s.query()
	switch {
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) || errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
		return notInstalled
	case err != nil:
		return failed
	case status.State == svc.Running || status.State == svc.StartPending:
		return running
	case status.State == svc.Stopped && status.Win32ExitCode != 0 && windows.Errno(status.Win32ExitCode) != windows.ERROR_SERVICE_NEVER_STARTED:
		return failed
	}
	return stopped
}

// start starts the service and waits until it says that it runs.
func (s scm) start() error {
	err := all(s.d.Name, func(m *mgr.Service) error { return m.Start() })
	if errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.wait(svc.Running, 30*time.Second)
}

// stop asks the service to stop and waits until it has.
func (s scm) stop() error {
	err := all(s.d.Name, func(m *mgr.Service) error {
		_, err := m.Control(svc.Stop)
		return err
	})
	if err != nil && !errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return err
	}
	return s.wait(svc.Stopped, closeWithin+10*time.Second)
}

func (s scm) restart() error {
	if err := s.stop(); err != nil {
		return err
	}
	return s.start()
}

// wait waits for a state.
func (s scm) wait(state svc.State, limit time.Duration) error {
	for until := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		status, err := s.query()
		switch {
		case err != nil:
			return err
		case status.State == state:
			return nil
		case status.State == svc.Stopped:
			return fmt.Errorf("%s has stopped at once (error %d, exit code %d)", s.d.Name, status.Win32ExitCode, status.ServiceSpecificExitCode)
		case time.Now().After(until):
			return fmt.Errorf("%s is still in state %d after %s", s.d.Name, status.State, limit)
		}
	}
}

// program returns the path of the executable that the service manager starts.
func (s scm) program() (path string, err error) {
	err = with(s.d.Name, windows.SC_MANAGER_CONNECT, windows.SERVICE_QUERY_CONFIG, func(m *mgr.Service) error {
		size := uint32(1 << 10)
		for {
			b := make([]byte, size)
			c := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&b[0]))
			err := windows.QueryServiceConfig(m.Handle, c, size, &size)
			if errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) && int(size) > len(b) {
				continue
			}
			if err != nil {
				return fmt.Errorf("query the service %s: %w", s.d.Name, err)
			}
			line := windows.UTF16PtrToString(c.BinaryPathName)
			words, err := windows.DecomposeCommandLine(line)
			if err == nil && len(words) == 0 {
				err = exec.ErrNotFound
			}
			if err != nil {
				return fmt.Errorf("the service's command line %q: %w", line, err)
			}
			path = words[0]
			return nil
		}
	})
	return path, err
}

func (s scm) hint() string {
	return fmt.Sprintf(`the Application log says why, under the source %s (Get-WinEvent -ProviderName %[1]s -MaxEvents 20)`, s.d.Name)
}
