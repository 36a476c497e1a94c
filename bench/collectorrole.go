package main

import (
	"context"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/wire"
)

// Collector is the child that serves a collector with its journal.
type Collector struct {
	dir     string
	journal *journal.Journal
	server  *collector.Server
	stop    context.CancelFunc
	served  chan error

	mu     sync.Mutex
	timing bool
	seen   Seen
	ages   []time.Duration
	ws     map[collector.Stream]wire.Seq
}

// Seen is what the collector has stored and synced since it was asked last to
// forget.
type Seen struct {
	Messages    int
	First, Last time.Time     // when the first and the last group was
	Before      int           // how many the first group had
	P50, P99    time.Duration // from a message's time to stored-and-synced
	Bytes       int64         // of the journal
	Syncs       uint64        // of its segments
}

// rate is how many a second came after the first group; NaN if that was all.
func (s Seen) rate() float64 {
	if s.Messages == s.Before {
		return math.NaN()
	}
	return float64(s.Messages-s.Before) / s.Last.Sub(s.First).Seconds()
}

// Serving says where to serve.
type Serving struct {
	Dir, Address string
	TLS          bool
	Unidentified int // 0: the default
}

// Open opens a journal and serves it.
func (c *Collector) Open(s Serving, _ *Nothing) (err error) {
	c.dir, c.ws, c.served = s.Dir, map[collector.Stream]wire.Seq{}, make(chan error, 1)
	quiet := slog.New(slog.DiscardHandler)
	if c.journal, err = journal.Open(journal.Options{Dir: filepath.Join(s.Dir, "journal"), Logger: quiet}); err != nil {
		return err
	}
	cfg := collector.Config{InsecurePlaintext: !s.TLS, Store: observed{c.journal, c}, Logger: quiet, MaxUnidentified: s.Unidentified}
	if s.TLS {
		r, err := enroll.Create(enroll.Options{Dir: filepath.Join(s.Dir, "journal")})
		if err != nil {
			return err
		}
		if cfg.TLS, err = r.ServerConfig(); err != nil {
			return err
		}
		cfg.Admit = r.Admit
	}
	if c.server, err = collector.New(cfg); err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	go func() { c.served <- c.server.Serve(ctx, l) }() // Close waits for it
	return nil
}

// Collect gives back what memory is not used.
func (c *Collector) Collect(Nothing, *Nothing) error {
	debug.FreeOSMemory()
	return nil
}

// Report returns what was seen. Quantiles only where the age was taken.
func (c *Collector) Report(_ Nothing, r *Seen) error {
	st := c.journal.Stats()
	c.mu.Lock()
	defer c.mu.Unlock()
	*r = c.seen
	r.P50, r.P99 = quantile(c.ages, 0.5), quantile(c.ages, 0.99)
	r.Bytes, r.Syncs = st.Bytes, st.Syncs.Count
	return nil
}

// Forget begins anew, with or without taking the age of every message.
func (c *Collector) Forget(timing bool, _ *Nothing) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen, c.ages, c.timing = Seen{}, nil, timing
	return nil
}

// Close ends the collector.
func (c *Collector) Close(Nothing, *Nothing) error {
	c.stop()
	if err := <-c.served; err != nil {
		return err
	}
	return c.journal.Close()
}

// observed is the journal, with a look at what it has made durable.
type observed struct {
	*journal.Journal
	by *Collector
}

func (o observed) Append(ctx context.Context, s collector.Session, list []collector.Append) ([]collector.Answer, error) {
	answers, err := o.Journal.Append(ctx, s, list)
	if err == nil {
		o.by.stored(list, answers, time.Now())
	}
	return answers, err
}

// stored notes a group that is durable since now.
func (c *Collector) stored(list []collector.Append, answers []collector.Answer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := 0
	for i := range list {
		before := c.ws[list[i].Stream]
		if answers[i].W <= before {
			continue
		}
		count += int(answers[i].W - max(before, list[i].Entry.From-1)) // a collector that opens an old journal has no before
		c.ws[list[i].Stream] = answers[i].W
		if c.timing {
			c.age(&list[i].Entry, now)
		}
	}
	if c.seen.Messages == 0 {
		c.seen.First, c.seen.Before = now, count
	}
	c.seen.Messages += count
	c.seen.Last = now
}

func (c *Collector) age(e *wire.Entry, now time.Time) {
	b, err := e.Check()
	if err != nil {
		return // the collector has checked it
	}
	for r, err := range b.Records() {
		if err == nil && r.Seq >= e.From && r.Seq <= e.To {
			c.ages = append(c.ages, now.Sub(r.Record.Time()))
		}
	}
}
