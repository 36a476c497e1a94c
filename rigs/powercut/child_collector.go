package powercut

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/export"
)

// A collector's lines: "open" when the file Before has all that the journal holds;
// "serving ADDRESS"; at an orderly end "closed" when the file After has it, and
// "audit JSON"; "failed WHY".

func (o *orders) collector() error {
	log := logger()
	j, err := journal.Open(journal.Options{Dir: o.Dir, SegmentSize: o.Segment, Logger: log})
	if err != nil {
		return err
	}
	if err := exportTo(o.Before, j.Read); err != nil {
		return err
	}
	say("open")
	srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: j, Logger: log})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	say("serving", ln.Addr())
	ctx, stop := context.WithCancel(context.Background())
	end := told()
	go func() { // ends with the process
		<-end
		stop()
	}()
	if err := srv.Serve(ctx, ln); err != nil {
		return err
	}
	if err := j.Close(); err != nil {
		return err
	}
	r, err := journal.OpenReader(o.Dir)
	if err != nil {
		return err
	}
	if err := exportTo(o.After, r.Read); err != nil {
		return err
	}
	report, err := journal.Audit(context.Background(), o.Dir)
	if err != nil {
		return err
	}
	b, err := json.Marshal(report)
	if err != nil {
		return err
	}
	say("audit", string(b))
	say("closed")
	return nil
}

type reading func(context.Context, collector.Cursor, func(collector.Stored) error) (collector.Cursor, error)

// exportTo writes all that a store holds to a file, as `collector export` does.
func exportTo(path string, read reading) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	_, err = read(context.Background(), "", export.Lines(export.Filter{}, func(line []byte) error {
		_, err := w.Write(line)
		return err
	}))
	return errors.Join(err, w.Flush(), f.Close())
}
