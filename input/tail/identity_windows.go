package tail

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// fileID names a file on this machine for as long as it exists.
type fileID struct{ dev, ino uint64 }

// identify returns the identity of the file at path.
func identify(path string, _ fs.FileInfo) (fileID, error) {
	f, err := open(path)
	if err != nil {
		return fileID{}, err
	}
	defer f.Close()
	return identifyOpen(f)
}

// identifyOpen returns the identity of an open file.
func identifyOpen(f *os.File) (fileID, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return fileID{}, &fs.PathError{Op: "identify", Path: f.Name(), Err: err}
	}
	return fileID{uint64(info.VolumeSerialNumber), uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow)}, nil
}

// open opens a file for reading, in a way that lets others rename and delete it,
// which os.Open does not.
func open(path string) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
