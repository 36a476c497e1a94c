package queue

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// fault is a panic, or a memory fault, that bbolt met in a file. The handle must
// not be used afterwards, not even closed: its locks may be held for ever.
type fault struct {
	doing string
	cause any
}

func (f *fault) Error() string {
	if _, memory := f.cause.(runtime.Error); memory {
		return fmt.Sprintf("%s: a page of the file could not be read: the disk has failed, or the file was cut short (%v)", f.doing, f.cause)
	}
	return fmt.Sprintf("%s: fault in the database file: %v", f.doing, f.cause)
}

// guard runs f, which touches a mapped file, and returns a panic or a memory
// fault as an error. A file that is cut short while it is mapped gives SIGBUS,
// which only SetPanicOnFault makes catchable, for this goroutine alone.
func guard(doing string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &fault{doing, p}
		}
	}()
	return f()
}
