package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// SyncDir makes the names in dir durable. NTFS writes them to its journal by itself,
// and later; a flush of the folder, which must be open for writing, has that done now.
// File systems that cannot flush a folder (FAT, some network shares) are left to what
// [RenameFile] asks for.
func SyncDir(dir string) error {
	if err := Ahead(DirSync, dir); err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(name, windows.FILE_WRITE_DATA|windows.FILE_APPEND_DATA,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return fmt.Errorf("sync folder: %w", &os.PathError{Op: "open", Path: dir, Err: err})
	}
	defer windows.CloseHandle(h)
	err = windows.FlushFileBuffers(h)
	for _, cannot := range []error{windows.ERROR_INVALID_FUNCTION, windows.ERROR_NOT_SUPPORTED, windows.ERROR_INVALID_PARAMETER, windows.ERROR_INVALID_HANDLE, windows.ERROR_ACCESS_DENIED} {
		if errors.Is(err, cannot) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// rename renames a file, over one that is there, and returns when that is on the disk.
func rename(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	if err == nil {
		var t *uint16
		if t, err = windows.UTF16PtrFromString(to); err == nil {
			err = windows.MoveFileEx(f, t, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
		}
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
