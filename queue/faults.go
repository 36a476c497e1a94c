package queue

import "sync"

// faults puts one-shot failures in the way of the writer, for tests. A nil
// *faults does nothing.
type faults struct {
	mu    sync.Mutex
	armed map[point][]error // nil: passes, for "the second time"
}

// point is a place where a failure can be.
type point string

const (
	beforeCommit point = "before commit" // nothing has been written
	afterCommit  point = "after commit"  // all of it has
	onCreate     point = "create"        // of a new segment
	onRename     point = "rename"        // of a new segment
	onDirSync    point = "folder sync"   // after the rename
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

// at returns the failure that is armed at a point, once.
func (f *faults) at(p point) error {
	if f == nil {
		return nil
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

// commit runs a commit with the failures around it. A failure that is to count
// as "certainly not stored" is a [notStored].
func (f *faults) commit(run func() error) error {
	if err := f.at(beforeCommit); err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	return f.at(afterCommit)
}
