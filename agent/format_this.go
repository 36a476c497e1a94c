//go:build !fieldpost_laterformat

package agent

// later is added to FolderFormat.
const later = 0
