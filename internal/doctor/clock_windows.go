package doctor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// syncStatus asks whether the time service of Windows runs.
func syncStatus() (syncState, error) {
	m, err := openManager()
	if err != nil {
		return syncState{}, err
	}
	defer m.Disconnect()
	name, err := windows.UTF16PtrFromString("w32time")
	if err != nil {
		return syncState{}, err
	}
	h, err := windows.OpenService(m.Handle, name, windows.SERVICE_QUERY_STATUS)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return syncState{known: true, text: "Windows' time service is not installed"}, nil
	}
	if err != nil {
		return syncState{}, fmt.Errorf("w32time: %w", err)
	}
	s := &mgr.Service{Name: "w32time", Handle: h}
	defer s.Close()
	st, err := s.Query()
	if err != nil {
		return syncState{}, fmt.Errorf("w32time: %w", err)
	}
	if st.State != svc.Running {
		return syncState{known: true, text: "Windows' time service (w32time) does not run"}, nil
	}
	return syncState{known: true, synced: true, text: "Windows' time service runs"}, nil
}

// openManager opens the service manager for who may only look.
func openManager() (*mgr.Mgr, error) {
	h, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return nil, fmt.Errorf("service manager: %w", err)
	}
	return &mgr.Mgr{Handle: h}, nil
}
