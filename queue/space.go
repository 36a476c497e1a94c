package queue

// DiskSpace returns how many bytes of the disk that holds dir a user may still fill, and
// how many it has. The error is the system's.
func DiskSpace(dir string) (free, total int64, err error) { return diskSpace(dir) }
