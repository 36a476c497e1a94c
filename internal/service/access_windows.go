package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// owner is the service whose a file is: its virtual account has rights on it, beside
// the administrators and the system. None: the folder that holds the files of all
// services.
type owner string

// ownerOf returns whose the files of a daemon are.
func ownerOf(d *Daemon) owner { return owner(d.Name) }

// rights says who may do what with a folder.
func (o owner) rights(fs.FileMode) string {
	if o == "" {
		return "for administrators; the services may list it"
	}
	return "for administrators and " + virtualAccount(string(o))
}

// access returns the list of rights of a folder or of a file.
func (o owner) access(folder bool) string {
	switch {
	case o == "":
		return homeAccess(services...)
	case folder:
		return dataAccess(string(o))
	}
	return configAccess(string(o))
}

// has reports whether a folder has its list of rights. One that somebody else has
// made, who may keep rights on it that no list shows, is an error.
func (o owner) has(path string, _ fs.FileInfo, _ fs.FileMode) (bool, error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, fmt.Errorf("who may use %s: %w", path, err)
	}
	sid, _, err := sd.Owner()
	if err != nil {
		return false, fmt.Errorf("whose %s is: %w", path, err)
	}
	if ok, err := trusted(sid, o); err != nil {
		return false, err
	} else if !ok {
		name := sid.String()
		if account, domain, _, err := sid.LookupAccount(""); err == nil {
			name = domain + `\` + account
		}
		return false, fmt.Errorf("it is there and belongs to %s, who is no administrator; look what is in it and move it away", name)
	}
	want, err := windows.SecurityDescriptorFromString(o.access(true))
	if err != nil {
		return false, err
	}
	return sd.String() == want.String(), nil
}

// trusted reports whether what belongs to sid belongs to administrators, to this
// process's user, who is one, or to the service itself.
func trusted(sid *windows.SID, o owner) (bool, error) {
	if sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) || sid.IsWellKnown(windows.WinLocalSystemSid) || (o != "" && sid.String() == serviceSID(string(o))) {
		return true, nil
	}
	me, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return false, fmt.Errorf("who runs this: %w", err)
	}
	return sid.Equals(me.User.Sid), nil
}

// mkdir makes a folder with the owner's list of rights, from its first moment on, or
// gives it to the folder that is there.
func (o owner) mkdir(path string, _ fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(o.access(true))
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	err = windows.CreateDirectory(name, &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd})
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return o.give(path)
	}
	if err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// give gives a folder or a file the owner's list of rights, and with a folder all in
// it that has none of its own.
func (o owner) give(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(o.access(info.IsDir()))
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	if err != nil {
		return fmt.Errorf("set who may use %s: %w", path, err)
	}
	return nil
}

// account: Windows makes a virtual account for each service by itself.
func account(d *Daemon) step {
	return step{what: "use the virtual account " + virtualAccount(d.Name), done: func() (bool, error) { return true, nil }}
}

// privileged returns an error unless this process may install a service.
func privileged() error {
	if !windows.GetCurrentProcessToken().IsElevated() {
		return errors.New("only an administrator may do that; run it from an elevated prompt")
	}
	return nil
}
