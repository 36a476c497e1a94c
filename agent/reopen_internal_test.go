package agent

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// A lane that cannot be opened refuses for certain, also where its opening does not
// know what became of its own commit.
func TestALaneThatCannotBeOpenedRefusesForCertain(t *testing.T) {
	a := open(t, Config{ID: "pump-7", Dir: t.TempDir()})
	set := *a.set.Load()
	set.open, set.broken = nil, map[wire.Lane]error{"default": fmt.Errorf("sync: %w", ErrUncertain)}
	whole := a.set.Swap(&set)
	defer a.set.Store(whole)
	if _, err := a.ready("default"); !errors.Is(err, ErrFull) || errors.Is(err, ErrUncertain) {
		t.Errorf("%v", err)
	}
}
