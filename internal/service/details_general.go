//go:build !windows

package service

// general is Look by what all service systems have.
func general(d Daemon) (Details, error) {
	m, err := New(d)
	if err != nil {
		return Details{Restarts: -1}, nil // there is none
	}
	out := Details{Platform: m.Platform(), State: m.Status(), Restarts: -1}
	out.Installed = out.State != "not installed"
	return out, nil
}
