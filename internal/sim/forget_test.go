package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// forget is an operator who gives up an agent that is not gone: what it delivers when
// it is back is stored once all the same.
func (c *center) forget(m *machine) error {
	j, ok := c.store.(*journal.Journal)
	if c.door == nil || !ok {
		return nil
	}
	id := wire.AgentID(m.id)
	err := j.Forget(context.Background(), id, ledger.Forgotten{Time: time.Now(), By: "operator", Reason: "a mistake"})
	switch {
	case errors.Is(err, journal.ErrNoAgent):
		return nil
	case err != nil && c.disk.hurt():
		c.w.note("it could not be forgotten: %v", err)
		return nil
	case err != nil:
		return fmt.Errorf("forget %s: %w", id, err)
	}
	c.w.saw("collector: an agent is forgotten, and comes back")
	c.door.server.Forget(id)
	return nil
}
