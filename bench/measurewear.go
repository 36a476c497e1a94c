package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// Trickle is messages at a rate.
type Trickle struct {
	Rate int
	For  time.Duration
}

// Trickle sends messages at a rate, one at a time.
func (l *Lane) Trickle(a Trickle, r *LaneDone) error {
	return l.used(r, func() (err error) {
		began := time.Now()
		r.Messages, err = steady(a.Rate, a.For, l.put)
		r.Took = time.Since(began)
		return err
	})
}

// DiskUse returns how many bytes a lane's files take.
func (l *Lane) DiskUse(dir string, n *int64) (err error) {
	*n, err = diskUse(dir)
	return err
}

// wear is one way to use a lane.
type wear struct {
	what     string
	rate     int // messages a second; 0: as fast as it goes
	during   time.Duration
	load     Load
	interval time.Duration
	codec    wire.Codec
	samples  bool
}

// measureWear measures what a message costs the disk: flash wears by what is
// written.
func (b *bench) measureWear(w io.Writer) error {
	fmt.Fprintf(w, "### What is written for a message, without a collector\n\n")
	trickle := 20 * time.Second
	list := []wear{
		{what: "1 a second", rate: 1, during: 2 * trickle},
		{what: "1 a second, synced every 10 s", rate: 1, during: 2 * trickle, interval: 10 * time.Second},
		{what: "100 a second", rate: 100, during: trickle},
		{what: "100 a second, synced every second", rate: 100, during: trickle, interval: time.Second},
		{what: "100 a second, synced every second, zstd", rate: 100, during: trickle, interval: time.Second, codec: wire.CodecZstd},
		{what: "full speed, 1 producer", load: Load{Producers: 1, Batch: 1, Messages: 1 << 30, Max: b.max}},
		{what: "full speed, 64 producers", load: Load{Producers: 64, Batch: 1, Messages: 1 << 30, Max: b.max}},
		{what: "full speed, 64 producers, s2", load: Load{Producers: 64, Batch: 1, Messages: 1 << 30, Max: b.max}, codec: wire.CodecS2},
		{what: "full speed, 64 producers, zstd", load: Load{Producers: 64, Batch: 1, Messages: 1 << 30, Max: b.max}, codec: wire.CodecZstd},
		{what: "batches of 1,000, 4 producers", load: Load{Producers: 4, Batch: 1000, Messages: 1_000_000, Max: b.max}},
		{what: "batches of 1,000, 4 producers, s2", load: Load{Producers: 4, Batch: 1000, Messages: 1_000_000, Max: b.max}, codec: wire.CodecS2},
		{what: "batches of 1,000, 4 producers, zstd", load: Load{Producers: 4, Batch: 1000, Messages: 1_000_000, Max: b.max}, codec: wire.CodecZstd},
	}
	for _, codec := range []wire.Codec{wire.CodecNone, wire.CodecS2, wire.CodecZstd} {
		list = append(list,
			wear{what: "samples of this machine, 64 producers, " + codec.String(), load: Load{Producers: 64, Batch: 1, Messages: 1 << 30, Max: b.max}, codec: codec, samples: true},
			wear{what: "samples of this machine, batches of 100, " + codec.String(), load: Load{Producers: 4, Batch: 100, Messages: 200_000, Max: b.max}, codec: codec, samples: true},
			wear{what: "samples of this machine, 100 a second, synced every second, " + codec.String(), rate: 100, during: trickle, interval: time.Second, codec: codec, samples: true})
	}
	rows := [][]string{{"messages", "payload bytes", "messages/s", "bytes written a message", "bytes on disk a message", "of payload", "syncs a message", "CPU s a million"}}
	for _, x := range list {
		row, err := b.wear(x)
		if err != nil {
			return fmt.Errorf("%s: %w", x.what, err)
		}
		rows = append(rows, row)
	}
	table(w, rows)
	return nil
}

func (b *bench) wear(x wear) ([]string, error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove()
	c, err := start("lane")
	if err != nil {
		return nil, err
	}
	defer c.kill()
	lane := filepath.Join(dir, "lane")
	if _, err := call[Nothing](c, "Open", LaneOpening{What: "queue", Dir: lane, Interval: x.interval, Codec: x.codec, Samples: x.samples}); err != nil {
		return nil, err
	}
	before, err := call[int64](c, "DiskUse", lane)
	if err != nil {
		return nil, err
	}
	var d LaneDone
	if x.rate > 0 {
		d, err = call[LaneDone](c, "Trickle", Trickle{x.rate, x.during})
	} else {
		d, err = call[LaneDone](c, "Put", x.load)
	}
	if err != nil {
		return nil, err
	}
	after, err := call[int64](c, "DiskUse", lane)
	if err != nil {
		return nil, err
	}
	n := float64(d.Messages)
	return []string{x.what, whole(float64(d.Payload) / n), whole(d.rate()), whole(float64(d.Used.Written) / n), whole(float64(after-before) / n), decimal(float64(after-before) / float64(d.Payload)), fmt.Sprintf("%.4f", float64(d.Syncs)/n), decimal(d.Used.CPU.Seconds() * 1e6 / n)}, nil
}

// used runs a load and notes what it cost, all that it handed in being written.
func (l *Lane) used(r *LaneDone, run func() error) error {
	syncs, err := l.syncs()
	if err != nil {
		return err
	}
	payload := l.payload.Load()
	before, err := usageOf(selfPid)
	if err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	if err := l.written(); err != nil {
		return err
	}
	after, err := usageOf(selfPid)
	if err != nil {
		return err
	}
	r.Used, r.Payload = after.since(before), l.payload.Load()-payload
	r.Syncs, err = l.syncs()
	r.Syncs -= syncs
	return err
}

// writeOut waits until a queue has committed what it was handed.
func writeOut(q *queue.Queue) error {
	// A flush syncs what waits for its interval, and then waits for acks that will
	// not come.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	q.Flush(ctx)
	return q.Stats().Failing
}
