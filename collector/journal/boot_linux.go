package journal

import (
	"os"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// bootID returns an id that changes when the machine starts, zero if there is
// none to be had.
func bootID() wire.ID {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return wire.ID{}
	}
	id, err := wire.ParseID(strings.ReplaceAll(strings.TrimSpace(string(b)), "-", ""))
	if err != nil {
		return wire.ID{}
	}
	return id
}
