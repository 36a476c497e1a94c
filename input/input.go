package input

import (
	"context"
	"time"
)

// Input is something the agent daemon reads.
type Input interface {
	// Run reads until ctx ends, and then returns nil; or until it cannot go on,
	// and returns why. It has joined its goroutines when it returns, and may be
	// called again.
	Run(ctx context.Context) error

	// Status returns how the input stands. It may be called at any time, by anyone.
	Status() Status
}

// The states of an input.
const (
	Reading = "reading" // it runs
	Waiting = "waiting" // it runs and cannot go on now: a lane is full, a file cannot be read
	Stopped = "stopped" // it does not run
)

// Status says how an input stands. Its JSON is part of what "agent status" prints.
type Status struct {
	Kind     string    `json:"kind"`               // file, host, exec
	Name     string    `json:"name"`               // what is read, as in the configuration
	State    string    `json:"state"`              // reading, waiting, stopped
	Sources  []Place   `json:"sources,omitempty"`  // files, those that matter most first, at most 100
	Count    int       `json:"count,omitempty"`    // of sources, in all
	Messages uint64    `json:"messages"`           // accepted since the daemon began
	Bytes    uint64    `json:"bytes,omitempty"`    // read since then
	Behind   int64     `json:"behind_bytes"`       // there to be read, and not yet accepted
	Dropped  uint64    `json:"dropped,omitempty"`  // messages dropped by a lane's policy; their tombstones tell
	TooLong  uint64    `json:"too_long,omitempty"` // messages above a limit that were passed over
	Missed   uint64    `json:"missed,omitempty"`   // samples or lines that could not be handed in
	Unread   int64     `json:"unread,omitempty"`   // bytes that were gone before they were read, as far as is known
	Trouble  string    `json:"trouble,omitempty"`  // what is wrong now, and what to do
	LastRead time.Time `json:"last_read,omitzero"` // when something was last accepted
	Restarts uint64    `json:"restarts,omitempty"` // of a command
}

// Place is how one source of an input stands.
type Place struct {
	Name    string `json:"name"`              // path
	At      int64  `json:"at"`                // bytes of it whose messages are accepted
	Size    int64  `json:"size"`              // bytes that it has
	Trouble string `json:"trouble,omitempty"` // why it is not read, and what to do
}

// MaxPlaces is how many sources a Status names.
const MaxPlaces = 100
