package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// MessageID names a message of a lane; see [queue.MessageID].
type MessageID = queue.MessageID

// Held is what a lane holds at some numbers of a stream: a message; or, with a
// Reason, the tombstone of dropped ones; or, with Trouble, what cannot be read now.
type Held struct {
	Lane    string
	ID      MessageID  // of the first number
	To      wire.Seq   // the last number; of a message the same
	Epoch   wire.Epoch // of the stream
	Acked   bool       // a store has acked all of it
	Message Message    // its Lane is the lane

	Reason  wire.Reason // of a tombstone, 0 if it is none
	Dropped time.Time   // when that was
	Detail  string

	Trouble error // why it cannot be read, nil if it can
}

func held(lane wire.Lane, it *queue.Item) Held {
	m := it.Message
	return Held{
		Lane: string(lane), ID: it.ID, To: it.To, Epoch: it.Epoch, Acked: it.Acked,
		Message: Message{Lane: string(lane), Topic: m.Topic, Time: m.Time, Headers: m.Headers, Body: m.Body},
		Reason:  it.Reason, Dropped: it.Time, Detail: it.Detail, Trouble: it.Trouble,
	}
}

// Messages hands what a lane holds to yield, from one place on, in order, synced
// state only: messages, and what is dropped or cannot be read. Without acked it
// leaves out what the store has acked; with it that is handed out too, as far as it
// is still on disk. It changes nothing and frees nothing. An error of yield ends it
// and is returned; so is ctx's, and ErrUnknownLane.
func (a *Agent) Messages(ctx context.Context, lane string, from MessageID, acked bool, yield func(Held) error) error {
	q, err := a.existing(lane)
	if err != nil {
		return err
	}
	return q.Messages(ctx, from, acked, func(it queue.Item) error { return yield(held(q.Lane(), &it)) })
}

// ReadMessages is [Agent.Messages] for the folder of an agent that does not run. It
// changes nothing. What is wrong with files is said in the error, beside what yield
// returned if it ended it, and does not keep it from going on. The other errors are ErrInUse, ErrUnknownLane, and fs.ErrNotExist
// if there is no agent's folder.
func ReadMessages(ctx context.Context, dir, lane string, from MessageID, acked bool, yield func(Held) error) error {
	cfg, err := laneAtRest(dir, lane)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	err = queue.ReadMessages(ctx, cfg, from, acked, func(it queue.Item) error { return yield(held(cfg.Lane, &it)) })
	if errors.Is(err, queue.ErrNotAQueue) { // its first opening was cut short: it holds nothing
		return nil
	}
	return err
}

// ReadLanes returns whose folder dir is, and the lanes that it has, the default one
// first. A folder that has lanes and does not say whose they are gives no id and no
// error: they can be looked at all the same. It changes nothing. The errors are
// fs.ErrNotExist if it is no agent's folder, and ErrNotAQueue.
func ReadLanes(dir string) (id string, lanes []string, err error) {
	found, err := lanesOnDisk(dir)
	if err != nil {
		return "", nil, fmt.Errorf("agent: %w", err)
	}
	whose, err := readIdentity(dir)
	if errors.Is(err, ErrNewer) {
		return "", nil, fmt.Errorf("agent: %w", err)
	}
	if err != nil && len(found) == 0 {
		return "", nil, fmt.Errorf("agent: %s: no agent's folder: %w", dir, err)
	}
	sortLanes(found)
	for _, name := range found {
		lanes = append(lanes, string(name))
	}
	return string(whose), lanes, nil
}

// laneAtRest says which lane it is, of an agent that does not run; without an agent
// if the folder does not say whose it is.
func laneAtRest(dir, lane string) (queue.Config, error) {
	id, names, err := ReadLanes(dir)
	if err != nil {
		return queue.Config{}, err
	}
	if !slices.Contains(names, lane) {
		return queue.Config{}, fmt.Errorf("%w %q", ErrUnknownLane, lane)
	}
	held, err := heldElsewhere(dir)
	if err == nil && held {
		err = fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return queue.Config{Dir: laneDir(dir, wire.Lane(lane)), Agent: wire.AgentID(id), Lane: wire.Lane(lane)}, err
}
