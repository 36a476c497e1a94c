package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// Lane is the child that measures one durable queue alone.
type Lane struct{}

// LaneLoad says what to load.
type LaneLoad struct {
	What string // queue, log, ahead
	Dir  string
	Load Load
}

// LaneDone is what came of it.
type LaneDone struct {
	Done
	Used  usage
	Syncs int
}

// Put loads an empty queue.
func (*Lane) Put(a LaneLoad, r *LaneDone) error {
	put, end, err := openLane(a.What, a.Dir)
	if err != nil {
		return err
	}
	before, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	if r.Done, err = a.Load.run(put); err != nil {
		return err
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	r.Used = after.since(before)
	r.Syncs, err = end()
	return err
}

// Close is there for stop; Put has closed what it opened.
func (*Lane) Close(Nothing, *Nothing) error { return nil }

// openLane opens a queue; end closes it and returns how often it has synced.
func openLane(what, dir string) (put func(_, from, count int) error, end func() (int, error), err error) {
	texts := bodies(5000)
	if what != "queue" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
		r, err := newReference(filepath.Join(dir, "log"), what == "ahead")
		if err != nil {
			return nil, nil, err
		}
		return func(_, from, count int) error {
			list := make([][]byte, count)
			for i := range list {
				list[i] = texts[(from+i)%len(texts)]
			}
			return r.put(list...)
		}, r.close, nil
	}
	q, err := queue.Open(context.Background(), queue.Config{Dir: dir, Agent: "bench", Lane: wire.DefaultLane})
	if err != nil {
		return nil, nil, err
	}
	opened := q.Stats().Commits
	put = func(_, from, count int) error {
		list := make([]wire.Message, count)
		for i := range list {
			list[i] = wire.Message{Time: time.Now(), Body: texts[(from+i)%len(texts)]}
		}
		return q.Put(context.Background(), list...)
	}
	end = func() (int, error) {
		st := q.Stats()
		if st.Failing != nil {
			return 0, fmt.Errorf("the queue is failing: %w", st.Failing)
		}
		return 2 * int(st.Commits-opened), q.Close() // bbolt syncs its pages, then the page that names them
	}
	return put, end, nil
}
