package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/internal/lanes"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// LaneConfig has the settings of one lane. The zero value is good.
type LaneConfig struct {
	// Priority: the messages of a lane with a higher one overtake those of lower
	// ones on the link, between two fragments of 16 KiB; lanes of the same priority
	// take turns. -100 to 100.
	Priority int

	// Share is how much of the link, in per cent, the lane keeps while lanes of a
	// higher priority have more to send than it carries. 0: 10; at most 90.
	Share int

	// What the lane holds at most: bytes on disk, at least 512 KiB; messages without
	// an ack; and for how long, at least a second: older ones are dropped and leave a
	// tombstone, expired. Age is time that has certainly passed, so it may be later
	// on a machine whose clock cannot be trusted. 0: no limit but the disk's.
	MaxBytes    int64
	MaxMessages uint64
	MaxAge      time.Duration

	// FreeSpace is how many bytes of the disk are to stay free: the lane counts as
	// full when there are fewer. 0: 5 % of the disk, at most 512 MiB. Negative: the
	// disk may fill up.
	FreeSpace int64

	// Overflow says what becomes of a message for which there is no room. The zero
	// value is Reject.
	Overflow Overflow

	// SyncInterval weakens the lane by explicit wish: Send returns nil before the
	// message is on disk, where it is put once in so long, and a crash or a power cut
	// loses what was accepted since. 0: Send returns nil only once the message is
	// synced. Else 10 ms to 1 h.
	SyncInterval time.Duration

	// LiveFirst: after an outage longer than this, messages go at once in a new
	// epoch, and what has piled up follows behind, with the lane's Share of the link
	// while there is more to send; each in order. 0: the lane keeps one order, and new
	// messages wait for older ones. Else at least a second.
	LiveFirst time.Duration

	// Compression is of the lane's batches, on disk, on the link and in the
	// collector's journal. It pays where messages come in batches or many at once;
	// what does not get smaller is left as it is. The zero value is CodecNone.
	Compression Codec

	// SegmentSize is the size in bytes to which a file of the lane grows before
	// the next one. 0: 64 MiB.
	SegmentSize int64
}

// Overflow says what becomes of a message for which a lane has no room. Its text
// form is reject, block, drop-oldest or drop-newest.
type Overflow = queue.Overflow

// The policies of a full lane.
const (
	Reject     = queue.Reject     // Send returns ErrFull
	Block      = queue.Block      // Send waits for room until its context ends
	DropOldest = queue.DropOldest // the oldest messages make room, and leave a tombstone: overflow
	DropNewest = queue.DropNewest // Send returns ErrDropped; the message leaves a tombstone: overflow
)

// Codec says how messages are compressed. Its text form is none, s2 or zstd.
type Codec = wire.Codec

// The codecs.
const (
	CodecNone = wire.CodecNone // as they are
	CodecS2   = wire.CodecS2   // quick, a half to a fifth of telemetry's size
	CodecZstd = wire.CodecZstd // about half of that, at a quarter of the speed; holds half a megabyte of memory
)

// Route sends the messages of some topics to a lane.
type Route struct {
	// Topic is a filter as in MQTT: levels are divided by "/", "+" stands for one
	// level, "#" at the end for all that follow and none.
	Topic string

	// Lane is the default lane or one of Config.Lanes.
	Lane string
}

const (
	mostPriority  = 100
	leastAge      = time.Second
	leastInterval = 10 * time.Millisecond
	mostInterval  = time.Hour
	leastOutage   = time.Second
)

// check reports what is wrong with the settings.
func (l *LaneConfig) check() error {
	switch {
	case l.Priority < -mostPriority || l.Priority > mostPriority:
		return fmt.Errorf("priority %d, want %d to %d", l.Priority, -mostPriority, mostPriority)
	case l.Share < 0 || l.Share > transport.MaxShare:
		return fmt.Errorf("a share of %d per cent, want 0 (the default, %d) to %d", l.Share, transport.DefaultShare, transport.MaxShare)
	case l.MaxBytes != 0 && l.MaxBytes < queue.MinMaxBytes:
		return fmt.Errorf("at most %d bytes on disk, want 0 (no limit) or at least %d", l.MaxBytes, queue.MinMaxBytes)
	case l.MaxAge != 0 && l.MaxAge < leastAge:
		return fmt.Errorf("an age of at most %s, want 0 (no limit) or at least %s", l.MaxAge, leastAge)
	case l.Overflow > DropNewest:
		return fmt.Errorf("%s, want Reject, Block, DropOldest or DropNewest", l.Overflow)
	case l.SyncInterval != 0 && (l.SyncInterval < leastInterval || l.SyncInterval > mostInterval):
		return fmt.Errorf("a sync every %s, want 0 (before every answer) or %s to %s", l.SyncInterval, leastInterval, mostInterval)
	case l.LiveFirst != 0 && l.LiveFirst < leastOutage:
		return fmt.Errorf("live first after %s, want 0 (never) or at least %s", l.LiveFirst, leastOutage)
	case l.Compression > wire.CodecZstd:
		return fmt.Errorf("compression %s, want CodecNone, CodecS2 or CodecZstd", l.Compression)
	}
	return nil
}

// lanesWithDefaults checks the lanes and the routes, and puts a copy of the lanes
// that has the default one in their place.
func (c *Config) lanesWithDefaults() error {
	all := map[string]LaneConfig{string(wire.DefaultLane): {}}
	maps.Copy(all, c.Lanes)
	names := slices.Sorted(maps.Keys(all))
	if err := lanes.CheckAll(names); err != nil {
		return err
	}
	for _, name := range names {
		l := all[name]
		if err := l.check(); err != nil {
			return fmt.Errorf("lane %s: %w", name, err)
		}
	}
	c.Lanes = all
	for i, r := range c.Routes {
		if _, err := lanes.ParseFilter(r.Topic); err != nil {
			return fmt.Errorf("route %d: %w", i+1, err)
		}
		if _, ok := all[r.Lane]; !ok {
			return fmt.Errorf("route %d (%s): %w %q: add it to Lanes", i+1, r.Topic, ErrUnknownLane, r.Lane)
		}
	}
	return nil
}

// routes returns the routes, which have been checked.
func (c *Config) routes() lanes.Routes {
	list := make(lanes.Routes, len(c.Routes))
	for i, r := range c.Routes {
		list[i] = lanes.Route{Topic: lanes.Filter(r.Topic), Lane: r.Lane}
	}
	return list
}

// link returns the settings of the link that may change.
func (c *Config) link() transport.Config {
	return transport.Config{Collectors: c.Collectors, Lanes: c.policies(), Heartbeat: c.Heartbeat, Reconnect: c.Reconnect}
}

// policies returns how the lanes share the link.
func (c *Config) policies() map[wire.Lane]transport.LanePolicy {
	all := map[wire.Lane]transport.LanePolicy{}
	for name, l := range c.Lanes {
		all[wire.Lane(name)] = transport.LanePolicy{Priority: l.Priority, Share: l.Share}
	}
	return all
}
