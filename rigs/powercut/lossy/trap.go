package lossy

import "fmt"

// Event is an operation at which the power can be cut.
type Event int

// The events.
const (
	Write   Event = iota
	Sync          // of a file
	SyncDir       // of a folder
	Create
	Mkdir
	Rename
	Unlink // of a file or a folder
	Resize
	Events int = iota // how many there are
)

// String returns the event's name.
func (e Event) String() string {
	return [...]string{"write", "sync", "sync of a folder", "create", "mkdir", "rename", "unlink", "resize"}[e]
}

// When is where in an operation the power is cut.
type When int

// The moments.
const (
	Before     When = iota // nothing of the operation is done
	Unanswered             // it is done, but nobody learns of it
	After                  // it is done, and the process knows
)

// String returns the moment in words.
func (w When) String() string {
	return [...]string{"before", "in the answer to", "after"}[w]
}

// Trap springs at the N-th event of a kind since [Disk.Arm], counted from 1, or,
// if that does not come, at event number Limit of all kinds.
type Trap struct {
	Event Event
	N     int
	When  When
	Limit int // 0: none

	// Spring is called instead of the power cut, while the operation is held. It
	// must not block or touch the disk. Nil: the power is cut.
	Spring func()
}

// String says where the trap is, e.g. "before sync 12".
func (t Trap) String() string { return fmt.Sprintf("%s %s %d", t.When, t.Event, t.N) }

// Lies says which flushes say yes and do nothing. The zero Lies is an honest disk.
type Lies struct {
	Files   bool // every sync of a file
	Folders bool // every sync of a folder
	OneIn   int  // one sync in so many, by chance; 0: none
}
