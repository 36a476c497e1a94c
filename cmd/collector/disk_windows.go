package main

import "golang.org/x/sys/windows"

// diskSpace returns how many bytes of the disk that holds dir a user may still fill, and
// how many it has.
func diskSpace(dir string) (free, size int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var f, n uint64
	err = windows.GetDiskFreeSpaceEx(path, &f, &n, nil)
	return int64(f), int64(n), err
}
