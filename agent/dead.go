package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// ErrNoLetter: there is no dead letter of that name, or it is not kept any more.
var ErrNoLetter = queue.ErrNoLetter

// LetterID names a dead letter of a lane; see [queue.LetterID].
type LetterID = queue.LetterID

// DeadLetter is a message that the store has refused for good. A lane keeps 10,000
// of them, or 64 MiB; beyond that the oldest go.
type DeadLetter struct {
	ID      LetterID
	Lane    string
	Epoch   wire.Epoch // the stream it was refused in
	Number  wire.Seq   // and its number there
	Refused time.Time  // when
	Why     string     // as the store said
	Message Message    // its Lane is the lane
}

func deadLetter(lane wire.Lane, l *queue.Letter) DeadLetter {
	m := l.Message
	return DeadLetter{ID: l.ID, Lane: string(lane), Epoch: l.Epoch, Number: l.Number, Refused: l.Time, Why: l.Why,
		Message: Message{Lane: string(lane), Topic: m.Topic, Time: m.Time, Headers: m.Headers, Body: m.Body}}
}

// DeadLetters hands a lane's dead letters to yield, from one on, in order, each
// once. An error of yield ends it and is returned; so is ctx's, and ErrUnknownLane.
// What cannot be read is left out, and said in the error. yield must not call the
// agent's methods for dead letters.
func (a *Agent) DeadLetters(ctx context.Context, lane string, from LetterID, yield func(DeadLetter) error) error {
	q, err := a.existing(lane)
	if err != nil {
		return err
	}
	return q.Letters(ctx, from, func(l queue.Letter) error { return yield(deadLetter(q.Lane(), &l)) })
}

// RetryDeadLetters puts dead letters of a lane once more as new messages, and
// forgets them, in one durable step for each stream: a crash neither loses nor
// doubles one. The errors are ErrNoLetter, ErrUnknownLane, and those of Send; after
// any of them nothing was done for the stream that it names.
func (a *Agent) RetryDeadLetters(ctx context.Context, lane string, ids ...LetterID) error {
	q, err := a.existing(lane)
	if err != nil {
		return err
	}
	return q.Retry(ctx, ids...)
}

// DiscardDeadLetters forgets dead letters of a lane for good. The errors are those
// of RetryDeadLetters.
func (a *Agent) DiscardDeadLetters(ctx context.Context, lane string, ids ...LetterID) error {
	q, err := a.existing(lane)
	if err != nil {
		return err
	}
	return q.Discard(ctx, ids...)
}

// existing returns a lane that the agent has, also one that is being drained.
func (a *Agent) existing(lane string) (*queue.Lane, error) {
	if !a.accepting.Load() {
		return nil, ErrClosed
	}
	return a.ready(wire.Lane(lane))
}

// ReadDeadLetters is [Agent.DeadLetters] for the folder of an agent that does not
// run. It changes nothing. The errors are also those of ReadStatus.
func ReadDeadLetters(ctx context.Context, dir, lane string, from LetterID, yield func(DeadLetter) error) error {
	err := readable(dir)
	if err == nil {
		var names []wire.Lane
		if names, err = lanesOnDisk(dir); err == nil && !slices.Contains(names, wire.Lane(lane)) {
			err = fmt.Errorf("%w %q", ErrUnknownLane, lane)
		}
	}
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	err = queue.ReadLetters(ctx, laneDir(dir, wire.Lane(lane)), from, func(l queue.Letter) error { return yield(deadLetter(wire.Lane(lane), &l)) })
	if errors.Is(err, queue.ErrNotAQueue) { // its first opening was cut short: it holds nothing
		return nil
	}
	return err
}

// readable returns an error unless dir is the folder of an agent that does not run.
func readable(dir string) error {
	_, err := readIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no agent's folder: %w", dir, err)
	}
	if err != nil {
		return err
	}
	held, err := heldElsewhere(dir)
	if err == nil && held {
		err = fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return err
}
