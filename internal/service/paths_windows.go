package service

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// services are the names of all our services: their folders are in one.
var services = []string{"fieldpost-agent", "fieldpost-collector"}

// home returns the folder of all services.
func home() string {
	all, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		all = `C:\ProgramData` // its place unless somebody has moved it
	}
	return filepath.Join(all, "Fieldpost")
}

// Config returns the path of a service's configuration; name is agent or collector.
func Config(name string) string { return filepath.Join(home(), name+".yaml") }

// Data returns the path of a service's folder; name is agent or collector.
func Data(name string) string { return filepath.Join(home(), name) }

// account names the account that the daemon runs under.
func (d *Daemon) account() string { return virtualAccount(d.Name) }
