package boot

import (
	"time"

	"golang.org/x/sys/windows"
)

var tickCount = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetTickCount64")

// ID returns false: Windows has no id of its start.
func ID() (id [16]byte, ok bool) { return id, false }

// Since returns the time since the machine started, with the time it slept.
func Since() time.Duration {
	if tickCount.Find() != nil {
		return 0
	}
	ms, _, _ := tickCount.Call()
	return time.Duration(ms) * time.Millisecond
}
