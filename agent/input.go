package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// Checkpoint says how far an input has read a source; see [queue.Checkpoint].
type Checkpoint = queue.Checkpoint

// LaneOf returns the lane that a message goes to: the one it names, else that of
// the first route that matches its topic, else the default lane. Errors:
// ErrUnknownLane, ErrClosed.
func (a *Agent) LaneOf(m *Message) (string, error) {
	q, err := a.lane(m)
	if err != nil {
		return "", err
	}
	return string(q.Lane()), nil
}

// SendFrom is SendBatch for messages that an input has read from a source: the
// checkpoints are stored in the transaction of the messages, also where the lane's
// policy drops those (ErrDropped), so that after a crash either both are there or
// neither. The messages go to the lane that is named, whatever they say of it.
// Without messages the checkpoints are stored alone; a Checkpoint without a place
// forgets its source.
//
// Errors are those of SendBatch. After ErrUncertain the input looks whether the
// lane has the checkpoint, once the lane stores again. Of one source and lane only
// one call may run at a time; a lane remembers at most [queue.MaxCheckpoints]
// sources.
func (a *Agent) SendFrom(ctx context.Context, lane string, list []Message, checkpoints ...Checkpoint) error {
	q, err := a.lane(&Message{Lane: lane})
	if err != nil {
		return err
	}
	if lane == "" {
		return fmt.Errorf("%w: none is named", ErrUnknownLane)
	}
	msgs := make([]wire.Message, len(list))
	for i := range list {
		msgs[i] = list[i].wire(time.Now)
	}
	return q.PutFrom(ctx, msgs, checkpoints...)
}

// Checkpoints returns, by lane, how far the sources were read whose messages went
// there, also for lanes that are only drained. What a lane remembers that cannot be
// opened now is missing: wait for Ready first. The caller owns the result.
func (a *Agent) Checkpoints() map[string][]Checkpoint {
	all := map[string][]Checkpoint{}
	set := a.set.Load()
	for _, name := range set.names {
		if q := set.open[name]; q != nil {
			if list := q.Checkpoints(); len(list) > 0 {
				all[string(name)] = list
			}
		}
	}
	return all
}
