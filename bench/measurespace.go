package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Paced is what came of sends at a rate.
type Paced struct {
	Sent           int
	P50, P999, Max time.Duration
}

// Paced sends at a steady rate, and tells how long sends took.
func (a *Agent) Paced(s Steady, r *Paced) (err error) {
	var mu sync.Mutex
	var took []time.Duration
	r.Sent, err = steady(s.Rate, s.For, func(producer, from, count int) error {
		at := time.Now()
		err := a.send(producer, from, count)
		mu.Lock()
		took = append(took, time.Since(at))
		mu.Unlock()
		return err
	})
	if len(took) > 0 {
		r.P50, r.P999, r.Max = quantile(took, 0.5), quantile(took, 0.999), slices.Max(took)
	}
	return err
}

// measureSpace lets 1 GiB drain while messages are accepted, and looks how soon
// the disk has its room back.
func (b *bench) measureSpace(w io.Writer) error {
	const backlog, rate, lasts, small = 4_000_000, 1000, 12 * time.Second, 10 << 20
	fmt.Fprintf(w, "### A backlog of %s messages drains while %d a second are accepted\n\n", whole(backlog), rate)
	rows := [][]string{{"", "folder MiB, before", "least while it drained and after", "under 10 MiB after s", "put p50 ms", "p99.9 ms", "most ms", "a file beside it, p99.9 ms", "most ms"}}
	for range b.rounds {
		row, err := b.space(backlog, rate, lasts, small)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	table(w, rows)
	return nil
}

func (b *bench) space(backlog, rate int, lasts time.Duration, small int64) ([]string, error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove()
	s, err := b.site(dir)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if _, err := call[Done](s.agent, "Put", Load{Producers: 4, Batch: 1000, Messages: backlog, Max: time.Hour}); err != nil {
		return nil, err
	}
	lanes := filepath.Join(dir, "agent")
	before, err := diskUse(lanes)
	if err != nil {
		return nil, err
	}
	quiet, err := call[Paced](s.agent, "Paced", Steady{rate, lasts / 4})
	if err != nil {
		return nil, err
	}
	if s.collector, err = start("collector"); err != nil {
		return nil, err
	}
	// A collector has a disk of its own.
	elsewhere, err := os.MkdirTemp("/dev/shm", "fieldpost-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(elsewhere)
	began := time.Now()
	if _, err := call[Nothing](s.collector, "Open", Serving{Dir: elsewhere, Address: s.address}); err != nil {
		return nil, err
	}
	type watched struct {
		least int64
		under time.Duration
	}
	seen, end := make(chan watched), make(chan struct{})
	go func() {
		v := watched{least: before}
		for {
			select {
			case <-end:
				seen <- v
				return
			case <-time.After(20 * time.Millisecond):
			}
			if n, err := diskUse(lanes); err == nil { // a file may go while it is looked at
				v.least = min(v.least, n)
				if n < small && v.under == 0 {
					v.under = time.Since(began)
				}
			}
		}
	}()
	beside := make(chan Paced, 1)
	go func() { beside <- pacedBeside(filepath.Join(dir, "beside"), end) }()
	p, err := call[Paced](s.agent, "Paced", Steady{rate, lasts})
	close(end)
	v, disk := <-seen, <-beside
	if err != nil {
		return nil, err
	}
	under := "not"
	if v.under > 0 {
		under = decimal(v.under.Seconds())
	}
	return []string{fmt.Sprintf("quiet: p50 %s, p99.9 %s, most %s ms", millis(quiet.P50.Seconds()), millis(quiet.P999.Seconds()), millis(quiet.Max.Seconds())),
		mebi(float64(before)), mebi(float64(v.least)), under, millis(p.P50.Seconds()), millis(p.P999.Seconds()), millis(p.Max.Seconds()),
		millis(disk.P999.Seconds()), millis(disk.Max.Seconds())}, nil
}

// pacedBeside appends to a plain file and syncs it, some 300 times a second until
// end is closed: what the disk and the scheduler do to anybody meanwhile. Zeros if
// the file cannot be written.
func pacedBeside(path string, end <-chan struct{}) (r Paced) {
	f, err := newReference(path, true)
	if err != nil {
		return r
	}
	defer f.close()
	var took []time.Duration
	body := make([]byte, 256)
	for pace := time.NewTicker(3 * time.Millisecond); ; {
		select {
		case <-end:
			pace.Stop()
			if r.Sent = len(took); r.Sent > 0 {
				r.P50, r.P999, r.Max = quantile(took, 0.5), quantile(took, 0.999), slices.Max(took)
			}
			return r
		case <-pace.C:
		}
		at := time.Now()
		if f.put(body) != nil {
			continue
		}
		took = append(took, time.Since(at))
	}
}
