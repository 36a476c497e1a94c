package durable

// SyncDir does nothing on Windows: a folder cannot be synced there, and NTFS
// journals the change of a name itself.
func SyncDir(dir string) error { return Ahead(DirSync, dir) }
