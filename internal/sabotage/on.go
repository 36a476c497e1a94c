//go:build fieldpost_sabotage

package sabotage

import (
	"os"
	"slices"
	"strings"
)

// Built says whether this binary can be sabotaged at all.
const Built = true

var switches = strings.Split(os.Getenv("FIELDPOST_SABOTAGE"), ",")

// The switches, from FIELDPOST_SABOTAGE: a comma-separated list of their names.
var (
	NoSync     = slices.Contains(switches, "nosync")
	AckFirst   = slices.Contains(switches, "ackfirst")
	NoDedupe   = slices.Contains(switches, "nodedupe")
	NoFork     = slices.Contains(switches, "nofork")
	NoSalvage  = slices.Contains(switches, "nosalvage")
	NoChecksum = slices.Contains(switches, "nochecksum")
	TombFirst  = slices.Contains(switches, "tombfirst")
	Amnesia    = slices.Contains(switches, "amnesia")
	LowerW     = slices.Contains(switches, "lowerw")
	DeafSync   = slices.Contains(switches, "deafsync")
)
