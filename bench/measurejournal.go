package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// reading is what one way to read a journal took.
type reading struct {
	took time.Duration
	peak int64 // bytes of anonymous memory, most
	used usage
}

// measureJournal measures how little depends on what a journal holds. Each reading
// is a process of its own, and nothing of the journal is in the page cache.
func (b *bench) measureJournal(w io.Writer) error {
	fmt.Fprintf(w, "### A journal at rest: cold, each line a process of its own\n\n")
	rows := [][]string{{"holds", "disk MiB", "to", "seconds", "messages/s", "read from disk MiB", "CPU s a million", "RssAnon MiB, most"}}
	for _, n := range b.loads {
		more, err := b.shelf(n)
		if err != nil {
			return fmt.Errorf("a journal of %d: %w", n, err)
		}
		rows = append(rows, more...)
	}
	table(w, rows)
	return nil
}

// shelf fills a journal and reads it in each way.
func (b *bench) shelf(n int) (rows [][]string, err error) {
	dir, remove, err := b.folder()
	if err != nil {
		return nil, err
	}
	defer remove()
	dir = filepath.Join(dir, "journal")
	c, err := start("shelf")
	if err != nil {
		return nil, err
	}
	defer func() { c.kill() }()
	if _, err := call[Nothing](c, "Fill", Filling{dir, n}); err != nil {
		return nil, err
	}
	disk, err := diskUse(dir)
	if err != nil {
		return nil, err
	}
	for _, way := range []string{"Open", "Audit", "Export"} {
		c.kill()
		if err := evict(dir); err != nil {
			return nil, err
		}
		if c, err = start("shelf"); err != nil {
			return nil, err
		}
		r, err := b.read(c, way, dir, n)
		if err != nil {
			return nil, err
		}
		rate := none
		if way != "Open" && n > 0 {
			rate = whole(float64(n) / r.took.Seconds())
		}
		cpu := none
		if way != "Open" && n > 0 {
			cpu = decimal(perMillion(r.used, n))
		}
		rows = append(rows, []string{whole(float64(n)), mebi(float64(disk)), map[string]string{"Open": "open, and stay open", "Audit": "audit", "Export": "export"}[way],
			fmt.Sprintf("%.3f", r.took.Seconds()), rate, mebi(float64(r.used.Read)), cpu, mebi(float64(r.peak))})
	}
	return rows, nil
}

// read lets a child read a journal in one way.
func (b *bench) read(c *child, way, dir string, n int) (r reading, err error) {
	before, err := usageOf(c.pid())
	if err != nil {
		return r, err
	}
	stop := peak(c.pid())
	defer func() { r.peak = stop()[0] }()
	if way == "Open" {
		if r.took, err = call[time.Duration](c, "Open", dir); err == nil {
			time.Sleep(100 * time.Millisecond) // for the look at its memory
		}
	} else {
		began := time.Now()
		var held int
		if held, err = call[int](c, way, dir); err == nil && held != n {
			err = fmt.Errorf("%s found %d messages, want %d", way, held, n)
		}
		r.took = time.Since(began)
	}
	if err != nil {
		return r, err
	}
	after, err := usageOf(c.pid())
	r.used = after.since(before)
	return r, err
}
