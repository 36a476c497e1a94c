package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// LaneContents is what lies in a lane. As JSON it is as [Status] is.
type LaneContents struct {
	Lane    string           `json:"lane"`
	State   string           `json:"state"`         // accepting, full, failing, stopped, draining, drained, or at-rest
	Why     string           `json:"why,omitempty"` // it is full, failing or stopped
	Status  LaneStatus       `json:"status"`        // of all its streams together
	Streams []StreamContents `json:"streams"`       // in the order of their turns: the last takes messages
	Damage  []string         `json:"damage"`        // what is wrong with files, empty if nothing is seen
}

// StreamContents is what lies in one stream of a lane.
type StreamContents struct {
	Number       uint64             `json:"stream"` // 0: the lane's first
	Epoch        wire.Epoch         `json:"epoch"`
	Oldest       wire.Seq           `json:"oldest"` // the oldest number that is held; Next if none is
	Next         wire.Seq           `json:"next"`   // number of the next message
	Acked        wire.Seq           `json:"acked"`
	Accepted     uint64             `json:"accepted"`
	Backlog      uint64             `json:"backlog"` // messages without an ack that are not dropped
	BacklogBytes uint64             `json:"backlog_bytes"`
	OldestTime   time.Time          `json:"oldest_time,omitzero"` // of the oldest message without an ack
	OldestAge    Seconds            `json:"oldest_age_seconds,omitempty"`
	Acks         []queue.Ack        `json:"acks"`
	Dropped      []queue.DropCount  `json:"dropped"`    // by reason, of the tombstones that are kept
	Tombstones   []queue.Tombstone  `json:"tombstones"` // the oldest 1,000 of them
	DeadLetters  uint64             `json:"dead_letters"`
	Segments     []queue.File       `json:"segments"`
	Quarantine   []queue.Quarantine `json:"quarantine"`
}

// Contents returns what lies in a lane now. It reads the head of each segment file
// and changes nothing. The error is ErrUnknownLane or ErrClosed.
func (a *Agent) Contents(lane string) (LaneContents, error) {
	q, err := a.existing(lane)
	if err != nil {
		return LaneContents{}, err
	}
	c := q.Contents()
	l := laneContents(wire.Lane(lane), &c, time.Now())
	cfg, accepts := a.terms.Load().cfg.Lanes[lane]
	l.Status.setPolicy(&cfg)
	l.Status.Draining = !accepts
	l.State, l.Why = laneState(&c.Stats, accepts)
	return l, nil
}

// ReadContents is [Agent.Contents] for the folder of an agent that does not run. It
// changes nothing. What can be told of a damaged folder it tells. The errors are
// ErrInUse, ErrUnknownLane, fs.ErrNotExist if there is no agent's folder, and the
// file system's.
func ReadContents(dir, lane string) (LaneContents, error) {
	cfg, err := laneAtRest(dir, lane)
	if err != nil {
		return LaneContents{}, fmt.Errorf("agent: %w", err)
	}
	c, err := queue.ReadContents(cfg)
	if errors.Is(err, queue.ErrNotAQueue) { // its first opening was cut short: it holds nothing
		c, err = queue.Contents{Stats: queue.Stats{Lane: cfg.Lane, Oldest: 1, Next: 1}}, nil
	}
	if err != nil {
		return LaneContents{}, fmt.Errorf("agent: lane %s: %w", lane, err)
	}
	l := laneContents(cfg.Lane, &c, time.Now())
	l.State = "at-rest"
	return l, nil
}

func laneContents(lane wire.Lane, c *queue.Contents, now time.Time) LaneContents {
	l := LaneContents{Lane: string(lane), Status: laneStatus(lane, c.Stats, now), Streams: []StreamContents{}, Damage: orEmpty(c.Damage)}
	for i := range c.Streams {
		s := &c.Streams[i]
		st := &s.Stats
		o := StreamContents{
			Number: s.Number, Epoch: st.Epoch, Oldest: st.Oldest, Next: st.Next, Acked: st.Acked, Accepted: st.Accepted,
			Backlog: st.Backlog, BacklogBytes: st.BacklogBytes, OldestTime: st.OldestTime, DeadLetters: st.LettersKept,
			Acks: orEmpty(s.Acks), Dropped: orEmpty(s.Dropped), Tombstones: orEmpty(s.Tombstones), Segments: orEmpty(s.Files), Quarantine: orEmpty(s.Quarantine),
		}
		if !o.OldestTime.IsZero() {
			o.OldestAge = Seconds(max(0, now.Sub(o.OldestTime)))
		}
		l.Streams = append(l.Streams, o)
	}
	return l
}

// orEmpty is a list that JSON shows as one, also if it is nil.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
