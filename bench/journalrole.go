package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/export"
	"github.com/fieldpost/fieldpost/wire"
)

// Shelf is the child that has a journal and no server: it fills one, or opens,
// audits, verifies or exports one that is full.
type Shelf struct{ journal *journal.Journal }

// Filling says how many messages to put into which journal, in batches of 1,000.
type Filling struct {
	Dir      string
	Messages int
}

// Fill makes a journal.
func (s *Shelf) Fill(f Filling, _ *Nothing) (err error) {
	j, err := journal.Open(journal.Options{Dir: f.Dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	const batch = 1000
	ctx, texts := context.Background(), bodies(5000)
	epoch, inc := wire.Epoch{ID: wire.NewID()}, wire.Incarnation{ID: wire.NewID()}
	history := wire.History{{Incarnation: inc, First: 1}}
	next := wire.Seq(f.Messages) + 1
	g, err := j.Hello(ctx, collector.Hello{Hello: wire.Hello{Protocol: wire.Version, Agent: "bench", Streams: 1, Instance: wire.Instance{ID: wire.NewID()}},
		Streams: []wire.StreamState{{Lane: wire.DefaultLane, Epoch: epoch, Next: next, Boundaries: history}}, Time: time.Now()})
	if err != nil {
		return err
	}
	session := collector.Session{Agent: "bench", Session: g.Session}
	if _, err := j.Resume(ctx, session, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch, Next: next, Boundaries: history}); err != nil {
		return err
	}
	for from := 1; from <= f.Messages; {
		var list []collector.Append
		for range 8 { // in one commit
			to := min(from+batch-1, f.Messages)
			if from > to {
				break
			}
			var records []byte
			for n := from; n <= to; n++ {
				if records, err = wire.AppendRecord(records, &wire.Message{Time: time.Now(), Body: texts[n%len(texts)]}); err != nil {
					return err
				}
			}
			h := wire.BatchHeader{Lane: wire.DefaultLane, Epoch: epoch, Incarnation: inc, First: wire.Seq(from), Count: uint32(to - from + 1)}
			e := wire.Entry{From: wire.Seq(from), To: wire.Seq(to), Incarnation: inc, Batch: wire.AppendBatch(nil, h, records)}
			list = append(list, collector.Append{Stream: collector.Stream{Lane: wire.DefaultLane, Epoch: epoch}, Entry: e, Time: time.Now()})
			from = to + 1
		}
		if _, err := j.Append(ctx, session, list); err != nil {
			return err
		}
	}
	return nil
}

// Open opens the journal and keeps it open, as a collector does.
func (s *Shelf) Open(dir string, took *time.Duration) (err error) {
	began := time.Now()
	s.journal, err = journal.Open(journal.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	*took = time.Since(began)
	return err
}

// Audit audits a journal and returns how many messages it accounts for.
func (s *Shelf) Audit(dir string, messages *int) error {
	r, err := journal.Audit(context.Background(), dir)
	if err == nil && !r.OK {
		err = fmt.Errorf("the audit has findings: %+v", r.Findings)
	}
	for i := range r.Streams {
		*messages += int(r.Streams[i].Stored)
	}
	return err
}

// Export prints a journal to nowhere and returns how many messages it held.
func (s *Shelf) Export(dir string, messages *int) error {
	r, err := journal.OpenReader(dir)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	_, err = r.Read(context.Background(), "", export.Lines(export.Filter{}, func(line []byte) error {
		*messages++
		_, err := w.Write(line)
		return err
	}))
	return errors.Join(err, w.Flush())
}

// Close closes what is open.
func (s *Shelf) Close(Nothing, *Nothing) error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Close()
}
