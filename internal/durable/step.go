package durable

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Step is one kind of thing done to a disk that can fail, or be the last one
// before the power goes.
type Step string

// The steps.
const (
	Open    Step = "open"   // a file that exists
	Create  Step = "create" // a file that does not
	Write   Step = "write"
	Sync    Step = "sync" // of a file's content
	Rename  Step = "rename"
	Remove  Step = "remove"
	DirSync Step = "sync folder"
)

// Hook is asked ahead of each step below a folder; path is the file's (of a
// rename, the new name's). An error takes the step's place: it is not done. A
// hook may be called from several goroutines at once.
type Hook func(s Step, path string) error

// watch is a hook and the folder it is for.
type watch struct {
	dir  string
	hook Hook
}

var (
	watching atomic.Pointer[[]*watch] // nil in every process but a test's
	changing sync.Mutex
)

// Watch installs a hook for all steps below dir, until end is called. It is for
// tests: simulated disks that fail, and pictures of a folder between two steps.
func Watch(dir string, h Hook) (end func()) {
	w := &watch{filepath.Clean(dir) + string(filepath.Separator), h}
	edit(func(list []*watch) []*watch { return append(list, w) })
	return func() {
		edit(func(list []*watch) []*watch {
			var rest []*watch
			for _, o := range list {
				if o != w {
					rest = append(rest, o)
				}
			}
			return rest
		})
	}
}

func edit(change func([]*watch) []*watch) {
	changing.Lock()
	defer changing.Unlock()
	var list []*watch
	if p := watching.Load(); p != nil {
		list = append(list, *p...)
	}
	if list = change(list); len(list) == 0 {
		watching.Store(nil)
		return
	}
	watching.Store(&list)
}

// Ahead tells of a step that the caller is about to do, and returns why it must
// fail instead; nil outside tests.
func Ahead(s Step, path string) error {
	p := watching.Load()
	if p == nil {
		return nil
	}
	below := path
	if s == DirSync {
		below = filepath.Clean(path) + string(filepath.Separator)
	}
	for _, w := range *p {
		if strings.HasPrefix(below, w.dir) {
			if err := w.hook(s, path); err != nil {
				return &os.PathError{Op: string(s), Path: path, Err: err}
			}
		}
	}
	return nil
}

// RenameFile is os.Rename as a step. On Windows it returns when the new name is on the
// disk; elsewhere [SyncDir] sees to that.
func RenameFile(from, to string) error {
	if err := Ahead(Rename, to); err != nil {
		return err
	}
	return rename(from, to)
}

// RemoveFile is os.Remove as a step.
func RemoveFile(path string) error {
	if err := Ahead(Remove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

// SyncFile is f.Sync as a step.
func SyncFile(f *os.File) error {
	if err := Ahead(Sync, f.Name()); err != nil {
		return err
	}
	return f.Sync()
}
