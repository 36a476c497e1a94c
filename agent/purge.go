package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/fieldpost/fieldpost/queue"
)

// Purge says what an operator gives up of a lane; see [queue.Purge].
type Purge = queue.Purge

// Purged is what a purge took, or would take; see [queue.Purged].
type Purged = queue.Purged

// PurgedStream is what it took of one stream.
type PurgedStream = queue.PurgedStream

// ErrScattered: what is to be purged lies in too many places between messages that
// stay. A bound that is a number purges all the same.
var ErrScattered = queue.ErrScattered

// Purge drops messages of a lane that the store has not acked. Tombstones stand for
// them in the store's ledger, with the reason purged; they are durable when it
// returns. Whole batches go, so it may take less than what was asked for, and says
// what it took. What was on its way counts as stored if it got there.
//
// What is returned was dropped, also beside an error: ErrUnknownLane, ErrClosed,
// ErrScattered, ErrFull, ctx's, or ErrUncertain, after which more may be.
func (a *Agent) Purge(ctx context.Context, lane string, what Purge) (Purged, error) {
	q, err := a.existing(lane)
	if err != nil {
		return Purged{}, err
	}
	return q.Purge(ctx, what)
}

// Purgeable returns what Purge would take now, and changes nothing. The errors are
// ErrUnknownLane, ErrClosed, ErrScattered and ctx's.
func (a *Agent) Purgeable(ctx context.Context, lane string, what Purge) (Purged, error) {
	q, err := a.existing(lane)
	if err != nil {
		return Purged{}, err
	}
	return q.Purgeable(ctx, what)
}

// ReadPurgeable is [Agent.Purgeable] for the folder of an agent that does not run. It
// changes nothing. The errors are also those of ReadMessages.
func ReadPurgeable(ctx context.Context, dir, lane string, what Purge) (Purged, error) {
	cfg, err := laneAtRest(dir, lane)
	if err != nil {
		return Purged{}, fmt.Errorf("agent: %w", err)
	}
	p, err := queue.ReadPurgeable(ctx, cfg, what)
	if errors.Is(err, queue.ErrNotAQueue) { // its first opening was cut short: it holds nothing
		return Purged{}, nil
	}
	return p, err
}
