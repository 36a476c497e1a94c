package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// way is how messages come into the agent.
type way struct {
	name   string
	load   Load
	door   bool // from another process, over loopback TCP
	steady bool // followed by a steady rate
}

var ways = []way{
	{"1 producer", Load{Producers: 1, Batch: 1, Messages: 100_000}, false, false},
	{"1 producer, from outside", Load{Producers: 1, Batch: 1, Messages: 100_000}, true, false},
	{"64 producers", Load{Producers: 64, Batch: 1, Messages: 400_000}, false, true},
	{"64 producers, from outside", Load{Producers: 64, Batch: 1, Messages: 400_000}, true, false},
	{"64 producers, batches of 1,000", Load{Producers: 64, Batch: 1000, Messages: 1_280_000}, false, false},
}

// journey is what became of one load on its whole way.
type journey struct {
	put         Done
	putUsed     usage // by the agent
	disk        int64 // the agent's, before the drain
	drained     Seen
	agentUsed   usage   // for the drain
	storeUsed   usage   // by the collector, for the drain
	limit       float64 // messages a second, if append + fdatasync were all
	agentPeak   int64   // bytes of anonymous memory, drain
	storePeak   int64
	steady      Seen
	agentMemory int64 // resident, at the end
}

// measureEnd measures the whole way, between real processes.
func (b *bench) measureEnd(w io.Writer) error {
	fmt.Fprintf(w, "### End to end, %d rounds, bodies of %d bytes; no TLS\n\n", b.rounds, bodySize)
	runs := make([][]journey, len(ways))
	for range b.rounds {
		for i := range ways {
			j, err := b.travel(&ways[i])
			if err != nil {
				return fmt.Errorf("%s: %w", ways[i].name, err)
			}
			runs[i] = append(runs[i], j)
		}
	}
	puts := [][]string{{"accepted from", "messages/s", "p50 ms", "p99 ms", "agent CPU s a million, put", "bytes written a payload byte", "disk bytes a message"}}
	drains := [][]string{{"put by", "drain messages/s", "of append + fdatasync of the journal's bytes", "agent CPU s a million, drain", "collector CPU s a million", "agent RssAnon MiB, most", "collector RssAnon MiB, most"}}
	for i, list := range runs {
		of := func(f func(journey) float64) float64 { return median(list, f) }
		puts = append(puts, []string{ways[i].name, whole(of(func(j journey) float64 { return j.put.rate() })),
			millis(of(func(j journey) float64 { return j.put.P50.Seconds() })), millis(of(func(j journey) float64 { return j.put.P99.Seconds() })),
			decimal(of(func(j journey) float64 { return perMillion(j.putUsed, j.put.Messages) })),
			decimal(of(func(j journey) float64 { return float64(j.putUsed.Written) / float64(j.put.Messages*bodySize) })),
			whole(of(func(j journey) float64 { return float64(j.disk) / float64(j.put.Messages) }))})
		drains = append(drains, []string{ways[i].name, whole(of(func(j journey) float64 { return j.drained.rate() })),
			decimal(of(func(j journey) float64 { return j.drained.rate() / j.limit })),
			decimal(of(func(j journey) float64 { return perMillion(j.agentUsed, j.put.Messages) })),
			decimal(of(func(j journey) float64 { return perMillion(j.storeUsed, j.put.Messages) })),
			mebi(of(func(j journey) float64 { return float64(j.agentPeak) })), mebi(of(func(j journey) float64 { return float64(j.storePeak) }))})
	}
	table(w, puts)
	table(w, drains)
	for i, list := range runs {
		if ways[i].steady {
			fmt.Fprintf(w, "%d messages a second: p50 %s ms, p99 %s ms from Send to stored-and-synced; agent resident %s MiB\n\n", steadyRate,
				millis(median(list, func(j journey) float64 { return j.steady.P50.Seconds() })), millis(median(list, func(j journey) float64 { return j.steady.P99.Seconds() })),
				mebi(median(list, func(j journey) float64 { return float64(j.agentMemory) })))
		}
	}
	return nil
}

const (
	steadyRate = 2000
	steadyFor  = 5 * time.Second
)

func perMillion(u usage, messages int) float64 { return u.CPU.Seconds() * 1e6 / float64(messages) }

func mebi(bytes float64) string { return fmt.Sprintf("%.1f", bytes/(1<<20)) }

// travel is one round of one way.
func (b *bench) travel(w *way) (j journey, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return j, err
	}
	defer remove()
	s, err := b.site(dir)
	if err != nil {
		return j, err
	}
	defer s.kill()
	load := w.load
	load.Max = b.max
	before, err := usageOf(s.agent.pid())
	if err != nil {
		return j, err
	}
	if w.door {
		j.put, err = knock(s.door, load)
	} else {
		j.put, err = call[Done](s.agent, "Put", load)
	}
	if err != nil {
		return j, err
	}
	after, err := usageOf(s.agent.pid())
	if err != nil {
		return j, err
	}
	j.putUsed = after.since(before)
	if j.disk, err = diskUse(filepath.Join(dir, "agent")); err != nil {
		return j, err
	}
	if err := s.drain(&j, j.put.Messages); err != nil {
		return j, err
	}
	if j.limit, err = appendLimit(dir, j.drained, j.put.Messages); err != nil {
		return j, err
	}
	if w.steady {
		if _, err := call[Nothing](s.collector, "Forget", true); err != nil {
			return j, err
		}
		sent, err := call[int](s.agent, "Steady", Steady{steadyRate, steadyFor})
		if err != nil {
			return j, err
		}
		if j.steady, err = s.arrived(sent); err != nil {
			return j, err
		}
		if j.agentMemory, err = resident(s.agent.pid()); err != nil {
			return j, err
		}
	}
	return j, s.stop()
}

// appendLimit returns at what rate a file takes the bytes that a journal has
// written, in as many writes and syncs.
func appendLimit(dir string, s Seen, messages int) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "limit"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	piece := make([]byte, s.Bytes/int64(s.Syncs))
	for i := range piece {
		piece[i] = byte(i * 7)
	}
	began := time.Now()
	for range s.Syncs {
		if _, err := f.Write(piece); err != nil {
			return 0, err
		}
		if err := dataSync(f); err != nil {
			return 0, err
		}
	}
	return float64(messages) / time.Since(began).Seconds(), nil
}
