package doctor

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// statVolume asks the system about the disk of a folder.
func statVolume(dir string) (volume, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return volume{}, err
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, nil); err != nil {
		return volume{}, &os.PathError{Op: "free space", Path: dir, Err: err}
	}
	v := volume{kind: "a disk", free: int64(min(free, 1<<62)), total: int64(min(total, 1<<62))}
	full, err := filepath.Abs(dir)
	if err != nil {
		return v, nil // the sizes are known at least
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(full) + `\`)
	if err != nil {
		return v, nil
	}
	switch windows.GetDriveType(root) {
	case windows.DRIVE_REMOTE:
		v.network = true
	case windows.DRIVE_RAMDISK:
		v.volatile = true
	case windows.DRIVE_REMOVABLE:
		v.quirk, v.advice = "a removable disk", "move the folder to a disk that stays in this machine"
	case windows.DRIVE_CDROM:
		v.readOnly = true
	}
	var flags uint32
	var kind [64]uint16
	if windows.GetVolumeInformation(root, nil, 0, nil, nil, &flags, &kind[0], uint32(len(kind))) == nil {
		v.kind = windows.UTF16ToString(kind[:])
		v.readOnly = v.readOnly || flags&windows.FILE_READ_ONLY_VOLUME != 0
	}
	return v, nil
}

func fdatasync(f *os.File) error { return f.Sync() }
