package service

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// look asks the service manager with no more rights than to look.
func look(_ context.Context, d Daemon) (Details, error) {
	out := Details{Platform: "windows-service", Restarts: -1}
	h, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return out, fmt.Errorf("service manager: %w", err)
	}
	defer windows.CloseServiceHandle(h)
	name, err := windows.UTF16PtrFromString(d.Name)
	if err != nil {
		return out, err
	}
	sh, err := windows.OpenService(h, name, windows.SERVICE_QUERY_STATUS|windows.SERVICE_QUERY_CONFIG)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("service %s: %w", d.Name, err)
	}
	s := &mgr.Service{Name: d.Name, Handle: sh}
	defer s.Close()
	out.Installed = true
	st, err := s.Query()
	if err != nil {
		return out, fmt.Errorf("service %s: %w", d.Name, err)
	}
	out.PID = int(st.ProcessId)
	switch st.State {
	case svc.Running:
		out.State = "running"
	case svc.StartPending:
		out.State = "starting"
	default:
		out.State = "stopped"
		if st.Win32ExitCode != 0 && st.Win32ExitCode != uint32(windows.ERROR_SERVICE_NEVER_STARTED) {
			out.State, out.Result = "failed", fmt.Sprintf("exit code %d", st.Win32ExitCode)
		}
	}
	if cfg, err := s.Config(); err == nil {
		out.User = cfg.ServiceStartName
		switch cfg.StartType {
		case mgr.StartAutomatic:
			out.Boot = Yes
		case mgr.StartManual, mgr.StartDisabled:
			out.Boot = No
		}
	}
	return out, nil
}
