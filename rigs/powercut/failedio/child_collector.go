package failedio

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/export"
)

// collectorChild is a collector with a journal that is told what to do.
type collectorChild struct {
	dir     string
	log     *slog.Logger
	journal *journal.Journal
	stop    context.CancelFunc
	ended   chan error
}

func (c *collectorChild) do(o *order, a *answer) error {
	switch {
	case o.Do == "open" && c.journal == nil:
		return c.open(a)
	case o.Do == "close" && c.journal != nil:
		c.stop()
		err := errors.Join(<-c.ended, c.journal.Close())
		c.journal = nil
		a.Left = left()
		return err
	case o.Do == "judge" && c.journal == nil:
		return c.judge(o.Path, a)
	}
	return errOrder
}

func (c *collectorChild) open(a *answer) error {
	j, err := journal.Open(journal.Options{Dir: c.dir, SegmentSize: segmentSize, Logger: c.log})
	if err != nil {
		return err
	}
	srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: j, Logger: c.log})
	if err != nil {
		return errors.Join(err, j.Close())
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, j.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	c.journal, c.stop, c.ended, a.Address = j, stop, make(chan error, 1), ln.Addr().String()
	go func() { c.ended <- srv.Serve(ctx, ln) }() // joined by close
	return nil
}

// judge writes all that the journal holds to a file, as `collector export` does,
// and audits it.
func (c *collectorChild) judge(path string, a *answer) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	r, err := journal.OpenReader(c.dir)
	if err == nil {
		_, err = r.Read(context.Background(), "", export.Lines(export.Filter{}, func(line []byte) error {
			_, err := w.Write(line)
			return err
		}))
	}
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return err
	}
	report, err := journal.Audit(context.Background(), c.dir)
	a.Report = &report
	return err
}
