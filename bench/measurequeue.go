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
	fmt.Fprintf(w, "### Queue alone, %d rounds, bodies of %d bytes\n\n", b.rounds, bodySize)
	rows := [][]string{{"producers", "queue", "messages/s", "of log", "of log, set aside", "put p50 ms", "p99 ms", "syncs a message", "bytes written a payload byte", "CPU s a million"}}
	for _, producers := range []int{1, 64, 256} {
		what := []string{"log", "ahead", "queue"}
		runs := map[string][]LaneDone{}
		for range b.rounds {
			for _, name := range what {
				d, err := b.lane(name, Load{Producers: producers, Batch: 1, Messages: 400_000, Max: b.max})
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				runs[name] = append(runs[name], d)
			}
		}
		rate := func(name string) float64 { return median(runs[name], func(d LaneDone) float64 { return d.rate() }) }
		for _, name := range what {
			per := func(f func(LaneDone) float64) float64 {
				return median(runs[name], func(d LaneDone) float64 { return f(d) / float64(d.Messages) })
			}
			rows = append(rows, []string{strconv.Itoa(producers), name, whole(rate(name)), decimal(rate(name) / rate("log")), decimal(rate(name) / rate("ahead")),
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

// lane loads one fresh queue in a process of its own.
func (b *bench) lane(what string, l Load) (d LaneDone, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return d, err
	}
	defer remove()
	c, err := start("lane")
	if err != nil {
		return d, err
	}
	d, err = call[LaneDone](c, "Put", LaneLoad{what, filepath.Join(dir, "lane"), l})
	if err != nil {
		c.kill()
		return d, err
	}
	if d.Messages == 0 {
		err = fmt.Errorf("nothing was stored in %s", time.Duration(d.Took))
	}
	if serr := c.stop(); err == nil {
		err = serr
	}
	return d, err
}
