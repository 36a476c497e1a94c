package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

const (
	address   = "collector:4717"
	heartbeat = 2 * time.Second
)

// world is one schedule's machines, links and store, and what was sent.
type world struct {
	t    *testing.T
	r    *rand.Rand
	net  faultnet.Network
	dir  string
	dirs int // folders made so far

	files    bool // the store is a journal, else memory
	store    collector.Store
	storeDir string
	server   *door // nil: the collector is down
	machines []*machine
	begin    time.Time

	mu     sync.Mutex
	sent   []*attempt
	events []string
}

// door is a running collector.
type door struct {
	stop   context.CancelFunc
	joined chan struct{}
	store  *slowStore
}

// machine is one agent with its uplink.
type machine struct {
	id     string
	dir    string
	line   *faultnet.Line
	a      *agent.Agent // nil: not running
	run    *run         // of a
	backup string       // an older copy of the folder, "" if there is none
}

// run is one life of an agent process. Its producers end with it.
type run struct {
	stop      context.CancelFunc
	producers sync.WaitGroup
	killed    bool // guarded by world.mu: what returns now is uncertain
}

// attempt is one message and what Send said.
type attempt struct {
	m       oracle.Message
	outcome oracle.Outcome
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%8.3fs  ", time.Since(w.begin).Seconds())+fmt.Sprintf(format, args...))
}

// logger writes the product's log into the event log.
func (w *world) logger(who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{w, who}, &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

type logWriter struct {
	w   *world
	who string
}

func (l logWriter) Write(b []byte) (int, error) {
	l.w.note("    %s: %s", l.who, bytes.TrimSpace(b))
	return len(b), nil
}

// newDir returns a folder that does not exist yet.
func (w *world) newDir(what string) string {
	w.dirs++
	return filepath.Join(w.dir, fmt.Sprintf("%s-%d", what, w.dirs))
}

// freeze waits until nothing in the bubble can go on by itself: what is on disk
// then is what a kill leaves.
func (w *world) freeze() { synctest.Wait() }

// openStore opens the collector's store, from storeDir if it is a journal.
func (w *world) openStore() error {
	if !w.files {
		if w.store == nil {
			w.store = storetest.NewMemory()
		}
		return nil
	}
	j, err := journal.Open(journal.Options{Dir: w.storeDir, Logger: w.logger("journal"), SegmentSize: 64 << 10})
	w.store = j
	return err
}

func (w *world) startCollector() error {
	if err := w.openStore(); err != nil {
		return err
	}
	slow := newSlowStore(w.store, w.r.Uint64())
	s, err := collector.New(collector.Config{Store: slow, Heartbeat: heartbeat, Logger: w.logger("collector")})
	if err != nil {
		return err
	}
	l, err := w.net.Listen(address)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{stop: stop, joined: make(chan struct{}), store: slow}
	go func() {
		defer close(d.joined)
		if err := s.Serve(ctx, l); err != nil && !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
			w.t.Errorf("collector: %v", err)
		}
	}()
	w.server = d
	return nil
}

// stopCollector ends the collector in good order.
func (w *world) stopCollector() error {
	w.server.stop()
	<-w.server.joined
	w.server = nil
	return w.closeStore()
}

func (w *world) closeStore() error {
	if j, ok := w.store.(*journal.Journal); ok {
		return j.Close()
	}
	return nil
}

// killCollector ends the collector as SIGKILL does: nobody is told, and its
// folder stays as it is at this moment.
func (w *world) killCollector() error {
	w.freeze()
	w.server.store.killed.Store(true)
	for _, m := range w.machines {
		m.line.Cut()
	}
	if w.files {
		next := w.newDir("store")
		if err := copyDir(next, w.storeDir); err != nil {
			return err
		}
		w.storeDir = next
	}
	return w.stopCollector()
}

func (w *world) startAgent(m *machine) error {
	a, err := agent.Open(context.Background(), agent.Config{
		ID: m.id, Dir: m.dir, Collectors: []string{address}, Dial: m.line.Dial,
		Lanes: map[string]agent.LaneConfig{
			"default": {SegmentSize: 64 << 10},
			"alarm":   {SegmentSize: 64 << 10},
		},
		Reconnect: agent.Reconnect{Min: 100 * time.Millisecond, Max: 5 * time.Second},
		Logger:    w.logger(m.id),
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m.a, m.run = a, &run{stop: stop}
	for i := range 2 {
		seed := w.r.Uint64()
		m.run.producers.Go(func() { w.produce(ctx, m.id, a, m.run, i, rand.New(rand.NewPCG(seed, 0))) })
	}
	return nil
}

// produce sends messages with pauses until ctx ends.
func (w *world) produce(ctx context.Context, id string, a *agent.Agent, run *run, i int, r *rand.Rand) {
	lanes := []string{"default", "default", "alarm"}
	producer := fmt.Sprintf("%s/%p/%d", id, run, i)
	for n := 0; ctx.Err() == nil; n++ {
		lane := lanes[r.IntN(len(lanes))]
		var list []agent.Message
		var tries []*attempt
		for k := range 1 + r.IntN(4)*r.IntN(3) {
			body := fmt.Appendf(nil, "%s %d.%d ", producer, n, k)
			if r.IntN(4) == 0 { // large ones fill segments, so that they come and go
				body = append(body, make([]byte, r.IntN(30000))...)
			}
			tries = append(tries, w.attempt(oracle.Message{Agent: id, Lane: lane, Producer: producer, Topic: "t", Body: body}))
			list = append(list, agent.Message{Lane: lane, Topic: "t", Body: body})
		}
		err := a.SendBatch(context.Background(), list)
		w.mu.Lock()
		for _, t := range tries {
			switch {
			case run.killed || errors.Is(err, agent.ErrUncertain):
				t.outcome = oracle.Unknown
			case err != nil:
				t.outcome = oracle.Refused
			default:
				t.outcome = oracle.Accepted
			}
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.Int64N(int64(3 * time.Second)))):
		}
	}
}

func (w *world) attempt(m oracle.Message) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &attempt{m, oracle.Unknown}
	w.sent = append(w.sent, t)
	return t
}

// stopAgent ends an agent in good order.
func (w *world) stopAgent(m *machine) error {
	m.run.stop()
	m.run.producers.Wait()
	err := m.a.Close()
	m.a = nil
	return err
}

// killAgent ends an agent as SIGKILL does.
func (w *world) killAgent(m *machine) error {
	w.mu.Lock()
	m.run.killed = true
	w.mu.Unlock()
	w.freeze()
	m.line.Cut()
	m.line.Refuse(true)
	next := w.newDir(m.id)
	if err := copyDir(next, m.dir); err != nil {
		return err
	}
	// The ghost ends where nobody hears it.
	if err := w.stopAgent(m); err != nil {
		w.note("the ghost of %s closed with: %v", m.id, err)
	}
	m.dir, m.line = next, w.net.Line(w.r.Uint64())
	m.line.Fragment(true)
	return nil
}

// copyDir copies a folder of files and folders.
func copyDir(to, from string) error {
	return os.CopyFS(to, os.DirFS(from))
}

// stored yields everything the store holds.
func (w *world) stored(yield func(oracle.Stored, error) bool) {
	errEnough := errors.New("enough")
	_, err := w.store.Read(context.Background(), "", func(s collector.Stored) error {
		if s.Entry.IsTombstone() {
			return fmt.Errorf("a tombstone for %s %s %d to %d (%s): nothing in a schedule drops", s.Agent, s.Stream.Lane, s.Entry.From, s.Entry.To, s.Entry.Reason)
		}
		b, err := wire.ParseBatch(s.Entry.Batch)
		if err != nil {
			return err
		}
		for n, err := range b.Records() {
			if err != nil {
				return err
			}
			if n.Seq < s.Entry.From || n.Seq > s.Entry.To {
				continue
			}
			m, err := n.Record.Message()
			if err != nil {
				return err
			}
			if !yield(oracle.Stored{Agent: string(s.Agent), Lane: string(s.Stream.Lane), Seq: uint64(n.Seq), Topic: m.Topic, Body: m.Body}, nil) {
				return errEnough
			}
		}
		return nil
	})
	if err != nil && err != errEnough {
		yield(oracle.Stored{}, err)
	}
}

// judge compares what was accepted with what is stored.
func (w *world) judge() error {
	var sent oracle.Sent
	w.mu.Lock()
	for _, t := range w.sent {
		sent.Add(t.m, t.outcome)
	}
	w.mu.Unlock()
	v, err := sent.Judge(w.stored)
	if err != nil {
		return err
	}
	if !v.OK() {
		return errors.New(v.String())
	}
	totals.add(v.Tally)
	return nil
}
