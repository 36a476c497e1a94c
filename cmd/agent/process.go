package main

import (
	"runtime"
	"time"
)

// process is what the system says of this process.
type process struct {
	goroutines int

	known    bool // the rest is known
	cpu      time.Duration
	resident int64 // bytes
	files    int   // that are open
}

func processNow() process {
	p := process{goroutines: runtime.NumGoroutine()}
	p.look()
	return p
}
