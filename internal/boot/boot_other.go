//go:build !linux && !windows

package boot

import "time"

var start = time.Now()

// ID returns false: this system has no id of its start that is read here.
func ID() (id [16]byte, ok bool) { return id, false }

// Since returns the time since the process started.
func Since() time.Duration { return time.Since(start) }
