package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"
)

// measureQueue compares one lane with append + fdatasync.
func (b *bench) measureQueue(w io.Writer) error {
	fmt.Fprintf(w, "### Queue alone, %d slices of %s each, bodies of %d bytes\n\n", b.rounds*perRound, slice, bodySize)
	rows := [][]string{{"producers", "queue", "messages/s", "of log", "of log, set aside", "put p50 ms", "p99 ms", "syncs a message", "bytes written a payload byte", "CPU s a million"}}
	for _, producers := range []int{1, 64, 256} {
		runs, err := b.compare([]string{"log", "ahead", "queue"}, Load{Producers: producers, Batch: 1, Messages: 1 << 30, Max: slice})
		if err != nil {
			return err
		}
		rate := func(name string) float64 { return median(runs[name], func(d LaneDone) float64 { return d.rate() }) }
		// Neighbours in time are compared, so that noise meets both.
		against := func(name, other string) float64 {
			k := -1
			return median(runs[name], func(d LaneDone) float64 { k++; return d.rate() / runs[other][k].rate() })
		}
		for _, name := range []string{"log", "ahead", "queue"} {
			per := func(f func(LaneDone) float64) float64 {
				return median(runs[name], func(d LaneDone) float64 { return f(d) / float64(d.Messages) })
			}
			rows = append(rows, []string{strconv.Itoa(producers), name, whole(rate(name)), decimal(against(name, "log")), decimal(against(name, "ahead")),
				millis(median(runs[name], func(d LaneDone) float64 { return d.P50.Seconds() })),
				millis(median(runs[name], func(d LaneDone) float64 { return d.P99.Seconds() })),
				fmt.Sprintf("%.3f", per(func(d LaneDone) float64 { return float64(d.Syncs) })),
				decimal(per(func(d LaneDone) float64 { return float64(d.Used.Written) / bodySize })),
				decimal(per(func(d LaneDone) float64 { return d.Used.CPU.Seconds() * 1e6 }))})
		}
	}
	table(w, rows)
	return nil
}

// slice is how long one queue is loaded before it is another one's turn: short,
// so that whatever else the machine does meets all of them.
const (
	slice    = 250 * time.Millisecond
	perRound = 8
)

// compare loads fresh queues in turn, each in a process of its own.
func (b *bench) compare(names []string, l Load) (map[string][]LaneDone, error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove()
	var lanes []*child
	defer func() {
		for _, c := range lanes {
			c.kill()
		}
	}()
	for _, name := range names {
		c, err := start("lane")
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, c)
		if _, err := call[Nothing](c, "Open", LaneOpening{What: name, Dir: filepath.Join(dir, name)}); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	runs := map[string][]LaneDone{}
	for range b.rounds * perRound {
		for i, name := range names {
			d, err := call[LaneDone](lanes[i], "Put", l)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if d.Messages == 0 {
				return nil, fmt.Errorf("%s has stored nothing in %s", name, d.Took)
			}
			runs[name] = append(runs[name], d)
		}
	}
	return runs, nil
}
