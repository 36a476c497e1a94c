//go:build !fieldpost_laterformat

package journal

// later is added to FolderFormat.
const later = 0
