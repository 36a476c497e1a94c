package queue

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// faults puts one-shot failures in the way of a lane's steps on disk.
type faults struct {
	mu    sync.Mutex
	armed map[point][]error // nil: passes, for "the second time"
}

// point is a place where a failure can be.
type point string

const (
	beforeCommit point = "write"       // to a segment that has its name
	afterCommit  point = "sync"        // of one: all is written
	onCreate     point = "create"      // of a new segment
	onRename     point = "rename"      // of a new segment
	onDirSync    point = "folder sync" // after the rename
)

// fail makes the next passages of a point end in errs, one after another.
func (f *faults) fail(p point, errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed == nil {
		f.armed = map[point][]error{}
	}
	f.armed[p] = append(f.armed[p], errs...)
}

// disarm takes away what has not happened.
func (f *faults) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = nil
}

// hook is a [durable.Hook].
func (f *faults) hook(s durable.Step, path string) error {
	name := filepath.Base(path)
	_, segment := parseSegment(name)
	var p point
	switch {
	case s == durable.Write && segment:
		p = beforeCommit
	case s == durable.Sync && segment:
		p = afterCommit
	case s == durable.Create && strings.HasPrefix(name, tempPrefix):
		p = onCreate
	case s == durable.Rename && segment:
		p = onRename
	case s == durable.DirSync:
		p = onDirSync
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.armed[p]
	if len(list) == 0 {
		return nil
	}
	f.armed[p] = list[1:]
	return list[0]
}
