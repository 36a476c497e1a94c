package service

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/windows"
)

// owner has no meaning yet under Windows, where a folder's list of rights says who
// may do what.
type owner string

func (o owner) String() string { return "the service" }

func (o owner) owns(fs.FileInfo) (bool, error) { return true, nil }

func (o owner) give(string) error { return nil }

// account: Windows makes a virtual account for each service by itself.
func account(name string) step {
	return step{what: "use the virtual account of the service " + name, done: func() (bool, error) { return true, nil }}
}

// privileged returns an error unless this process may install a service.
func privileged() error {
	if !windows.GetCurrentProcessToken().IsElevated() {
		return errors.New("only an administrator may do that; run it from an elevated prompt")
	}
	return nil
}
