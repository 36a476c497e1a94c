package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// backlog is what was measured with so many messages queued.
type backlog struct {
	queued      int
	opened      time.Duration
	onTop       float64 // put p50 of one producer against an empty agent, seconds of ours and of the other
	onTopEmpty  float64
	after       float64 // the same once all is drained
	afterEmpty  float64
	cold        usage // of the agent, while it drains
	journey     journey
	fileDisk    int64 // the agent's folder at its largest
	idleAgent   int64 // resident before the drain
	disk        int64 // of the agent after the drain
	loadedPerMs float64
}

// measureBacklog measures how little depends on what is queued. The agent is
// killed, not closed, and none of its files is in the page cache when it opens.
func (b *bench) measureBacklog(w io.Writer) error {
	fmt.Fprintf(w, "### With a backlog: cold, after kill -9; put p50 beside an empty agent in the same minute, %d alternations\n\n", b.rounds)
	rows := [][]string{{"queued", "loaded messages/s", "open ms", "put p50 ms", "of empty", "drain messages/s", "read from disk MiB", "agent RssAnon MiB, most", "collector RssAnon MiB, most", "put p50 ms, drained", "of empty", "agent disk MiB, before", "after", "agent RSS MiB, idle"}}
	for _, n := range b.loads {
		r, err := b.queued(n)
		if err != nil {
			return fmt.Errorf("%d queued: %w", n, err)
		}
		rows = append(rows, []string{whole(float64(n)), whole(r.loadedPerMs * 1e3), millis(r.opened.Seconds()), millis(r.onTop), decimal(r.onTop / r.onTopEmpty),
			whole(r.journey.drained.rate()), mebi(float64(r.cold.Read)), mebi(float64(r.journey.agentPeak)), mebi(float64(r.journey.storePeak)),
			millis(r.after), decimal(r.after / r.afterEmpty), mebi(float64(r.fileDisk)), mebi(float64(r.disk)), mebi(float64(r.idleAgent))})
	}
	table(w, rows)
	return nil
}

func (b *bench) queued(n int) (r backlog, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return r, err
	}
	defer remove()
	r.queued = n
	s, err := b.site(dir)
	if err != nil {
		return r, err
	}
	load := Load{Producers: 4, Batch: 1000, Messages: n, Max: time.Hour}
	d, err := call[Done](s.agent, "Put", load)
	s.kill()
	if err != nil {
		return r, err
	}
	r.loadedPerMs = d.rate() / 1e3
	lanes := filepath.Join(dir, "agent")
	if r.fileDisk, err = diskUse(lanes); err != nil {
		return r, err
	}
	if err := evict(lanes); err != nil {
		return r, err
	}
	if s, err = b.site(dir); err != nil {
		return r, err
	}
	defer s.kill()
	r.opened = s.opened
	if r.idleAgent, err = resident(s.agent.pid()); err != nil {
		return r, err
	}
	other, remove, err := b.folder()
	if err != nil {
		return r, err
	}
	defer remove()
	empty, err := b.site(other)
	if err != nil {
		return r, err
	}
	defer empty.kill()

	more, err := b.beside(s, empty, &r.onTop, &r.onTopEmpty)
	if err != nil {
		return r, err
	}
	before, err := usageOf(s.agent.pid())
	if err != nil {
		return r, err
	}
	if err := s.drain(&r.journey, n+more); err != nil {
		return r, err
	}
	after, err := usageOf(s.agent.pid())
	if err != nil {
		return r, err
	}
	r.cold = after.since(before)
	// The collector is gone for what follows, as it was before the drain.
	if err := s.collector.stop(); err != nil {
		return r, err
	}
	s.collector = nil
	if r.disk, err = diskUse(lanes); err != nil {
		return r, err
	}
	_, err = b.beside(s, empty, &r.after, &r.afterEmpty)
	return r, err
}

// beside puts into two agents in turn, and gives each one's median put. It
// returns how many messages the first has taken.
func (b *bench) beside(s, empty *site, p50, emptyP50 *float64) (sent int, err error) {
	var ours, theirs []Done
	for range b.rounds {
		for _, which := range []struct {
			*site
			list *[]Done
		}{{empty, &theirs}, {s, &ours}} {
			d, err := call[Done](which.agent, "Put", Load{Producers: 1, Batch: 1, Messages: 1 << 30, Max: 500 * time.Millisecond})
			if err != nil {
				return 0, err
			}
			*which.list = append(*which.list, d)
		}
	}
	for _, d := range ours {
		sent += d.Messages
	}
	half := func(d Done) float64 { return d.P50.Seconds() }
	*p50, *emptyP50 = median(ours, half), median(theirs, half)
	return sent, nil
}
