package main

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// Lane is the child that has one durable queue open, and nothing else.
type Lane struct {
	put     func(producer, from, count int) error
	syncs   func() (int, error)
	written func() error // waits until all that was put is written
	close   func() error
	payload atomic.Int64 // bytes of bodies
}

var selfPid = os.Getpid()

// LaneOpening says what to open.
type LaneOpening struct {
	What     string // queue, log, or ahead: a log whose blocks are set aside
	Dir      string
	Interval time.Duration // of the queue's syncs, 0: before each answer
	Codec    wire.Codec    // of the queue's batches
	Samples  bool          // messages are samples of this machine, else made up
}

// LaneDone is what came of a load.
type LaneDone struct {
	Done
	Used    usage
	Syncs   int
	Payload int64 // bytes of bodies
}

// Open opens an empty queue.
func (l *Lane) Open(o LaneOpening, _ *Nothing) error {
	if o.What == "queue" {
		return l.openQueue(o)
	}
	return l.openLog(o.Dir, o.What == "ahead")
}

// Put loads it.
func (l *Lane) Put(a Load, r *LaneDone) error {
	return l.used(r, func() (err error) {
		r.Done, err = a.run(l.put)
		return err
	})
}

// Close closes it.
func (l *Lane) Close(Nothing, *Nothing) error { return l.close() }

func (l *Lane) openLog(dir string, ahead bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r, err := newReference(filepath.Join(dir, "log"), ahead)
	if err != nil {
		return err
	}
	texts := bodies(5000)
	l.put = func(_, from, count int) error {
		list := make([][]byte, count)
		for i := range list {
			list[i] = texts[(from+i)%len(texts)]
		}
		return r.put(list...)
	}
	l.syncs = func() (int, error) { return int(r.syncs.Load()), nil }
	l.written = func() error { return nil }
	l.close = r.close
	return nil
}

func (l *Lane) openQueue(o LaneOpening) error {
	var syncs atomic.Int64 // but for those with which bbolt makes the file longer
	durable.Watch(o.Dir, func(s durable.Step, _ string) error {
		if s == durable.Sync || s == durable.DirSync {
			syncs.Add(1)
		}
		return nil
	})
	q, err := queue.Open(context.Background(), queue.Config{Dir: o.Dir, Agent: "bench", Lane: wire.DefaultLane, Interval: o.Interval, Codec: o.Codec})
	if err != nil {
		return err
	}
	texts := bodies(5000)
	if o.Samples {
		texts = telemetry(5000)
	}
	l.put = func(_, from, count int) error {
		list := make([]wire.Message, count)
		for i := range list {
			list[i] = wire.Message{Time: time.Now(), Body: texts[(from+i)%len(texts)]}
			l.payload.Add(int64(len(list[i].Body)))
		}
		return q.Put(context.Background(), list...)
	}
	l.syncs = func() (int, error) {
		return int(syncs.Load()), q.Stats().Failing
	}
	l.written = func() error {
		if o.Interval > 0 {
			return writeOut(q)
		}
		return nil
	}
	l.close = q.Close
	return nil
}
