package doctor

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	staUnsync = 0x40 // STA_UNSYNC of adjtimex(2)
	timeError = 5    // TIME_ERROR
)

// syncStatus asks the kernel whether something keeps its clock.
func syncStatus() (syncState, error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return syncState{}, fmt.Errorf("adjtimex: %w", err)
	}
	if state == timeError || t.Status&staUnsync != 0 {
		return syncState{known: true, text: "the kernel says that nothing keeps the clock synchronised"}, nil
	}
	most := time.Duration(t.Maxerror) * time.Microsecond
	return syncState{known: true, synced: true, text: "the clock is kept synchronised, at most " + round(most) + " off"}, nil
}
