package doctor

import (
	"io/fs"
	"unsafe"

	"golang.org/x/sys/windows"
)

// modesCount: lists of rights say who may do what, modes do not.
const modesCount = false

func ownerText(fs.FileInfo) string { return "its owner" }

func sameOwner(_, _ fs.FileInfo) bool { return true }

func ownedBy(fs.FileInfo, string) (is, known bool, err error) { return false, false, nil }

func mine(fs.FileInfo) bool { return false }

// everybody are the groups that any user of the machine is in.
var everybody = []windows.WELL_KNOWN_SID_TYPE{windows.WinWorldSid, windows.WinAuthenticatedUserSid, windows.WinBuiltinUsersSid, windows.WinInteractiveSid, windows.WinBuiltinGuestsSid}

// Rights of a file or folder.
const (
	readRights  = windows.GENERIC_ALL | windows.GENERIC_READ | windows.FILE_READ_DATA
	writeRights = windows.GENERIC_ALL | windows.GENERIC_WRITE | windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER
)

// others says what any user of the machine may do with a file or folder.
func others(path string) (read, write bool, err error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, false, err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return false, false, err
	}
	return allowed(dacl)
}

// allowed says what any user of the machine may do by a list of rights.
func allowed(dacl *windows.ACL) (read, write bool, err error) {
	if dacl == nil { // no list: anybody may do anything
		return true, true, nil
	}
	var groups []*windows.SID
	for _, kind := range everybody {
		if sid, err := windows.CreateWellKnownSid(kind); err == nil {
			groups = append(groups, sid)
		}
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return false, false, err
		}
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE {
			continue
		}
		who := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		for _, g := range groups {
			if who.Equals(g) {
				read = read || ace.Mask&readRights != 0
				write = write || ace.Mask&writeRights != 0
			}
		}
	}
	return read, write, nil
}
