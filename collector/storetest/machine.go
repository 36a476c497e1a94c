package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// now is the time of all that the suite stores.
var now = time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)

// machine is an agent with one lane, as far as a store sees it.
type machine struct {
	id       wire.AgentID
	lane     wire.Lane
	epoch    wire.Epoch
	instance wire.Instance
	history  wire.History
	bodies   []string // by number, from 1
	acked    wire.Seq
	session  collector.Session
}

func newMachine(id wire.AgentID, messages int) *machine {
	m := &machine{id: id, lane: wire.DefaultLane, epoch: wire.Epoch{ID: wire.NewID()}}
	m.start()
	m.put(messages)
	return m
}

// start begins a new incarnation, as opening the folder does.
func (m *machine) start() {
	m.instance = wire.Instance{ID: wire.NewID()}
	m.history = m.history.Begin(wire.Incarnation{ID: wire.NewID()}, m.next())
}

func (m *machine) next() wire.Seq { return wire.Seq(len(m.bodies)) + 1 }

func (m *machine) put(n int) {
	for range n {
		m.bodies = append(m.bodies, fmt.Sprintf("%s says %d of %s", m.id, m.next(), m.history[len(m.history)-1].Incarnation))
	}
}

// copy returns a copy of the folder.
func (m *machine) copy() *machine {
	c := *m
	c.history, c.bodies = slices.Clone(m.history), slices.Clone(m.bodies)
	return &c
}

// cut puts the folder back to n messages.
func (m *machine) cut(n int) *machine {
	m.bodies = m.bodies[:n]
	m.history = m.history.Upto(wire.Seq(n))
	m.acked = min(m.acked, wire.Seq(n))
	return m
}

func (m *machine) record(n wire.Seq) wire.Record {
	b, err := wire.AppendRecord(nil, &wire.Message{Topic: "t", Time: now.Add(time.Duration(n)), Body: []byte(m.bodies[n-1])})
	if err != nil {
		panic(err) // a bug of the suite
	}
	r, _, err := wire.NextRecord(b)
	if err != nil {
		panic(err)
	}
	return r
}

func (m *machine) fingerprint(n wire.Seq) wire.Fingerprint { return m.record(n).Fingerprint() }

// entry returns the numbers from to to, as data. whole gives the batch more
// numbers than the entry, on both sides.
func (m *machine) entry(from, to wire.Seq) wire.Entry { return m.part(from, to, from, to) }

func (m *machine) part(from, to, first, last wire.Seq) wire.Entry {
	var records []byte
	for n := first; n <= last; n++ {
		b, err := wire.AppendRecord(records, &wire.Message{Topic: "t", Time: now.Add(time.Duration(n)), Body: []byte(m.bodies[n-1])})
		if err != nil {
			panic(err)
		}
		records = b
	}
	h := wire.BatchHeader{Lane: m.lane, Epoch: m.epoch, Incarnation: m.history.At(from), First: first, Count: uint32(last - first + 1)}
	return wire.Entry{From: from, To: to, Incarnation: h.Incarnation, Batch: wire.AppendBatch(nil, h, records)}
}

func (m *machine) tombstone(from, to wire.Seq, why wire.Reason) wire.Entry {
	return wire.Entry{From: from, To: to, Incarnation: m.history.At(from), Reason: why, Time: now, Fingerprint: m.fingerprint(to), Detail: "for a test"}
}

func (m *machine) stream() collector.Stream { return collector.Stream{Lane: m.lane, Epoch: m.epoch} }

func (m *machine) state() wire.StreamState {
	return wire.StreamState{Lane: m.lane, Epoch: m.epoch, Next: m.next(), Acked: m.acked, Boundaries: m.history}
}

func (m *machine) resume(base wire.Seq) wire.Resume {
	return wire.Resume{Stream: 1, Lane: m.lane, Epoch: m.epoch, Base: base, Next: m.next(), Boundaries: m.history}
}

func (s *subject) hello(m *machine) wire.Match {
	s.Helper()
	g, err := s.Hello(context.Background(), collector.Hello{
		Hello: wire.Hello{Protocol: wire.Version, Agent: m.id, Instance: m.instance, LastSession: m.session.Number, Streams: 1,
			Software: "storetest 1", Host: wire.Host{Name: "bench", OS: "linux", Arch: "arm"}},
		Streams: []wire.StreamState{m.state()},
		Address: "192.0.2.7:4711",
		Time:    now,
	})
	if err != nil {
		s.Fatalf("hello of %s: %v", m.id, err)
	}
	if len(g.Matches) != 1 {
		s.Fatalf("hello with one stream is answered with %d matches", len(g.Matches))
	}
	m.session = collector.Session{Agent: m.id, Session: g.Session}
	return g.Matches[0]
}

// connect does what an agent does: hello, take the welcome, resume. It returns W.
func (s *subject) connect(m *machine) wire.Seq {
	s.Helper()
	match := s.hello(m)
	switch {
	case !match.Found:
	case match.Common == match.W:
		m.epoch = match.Epoch
	default:
		m.epoch = wire.Epoch{ID: wire.NewID()}
	}
	w, err := s.Resume(context.Background(), m.session, m.resume(match.Common))
	if err != nil {
		s.Fatalf("resume of %s: %v", m.id, err)
	}
	if w != match.Common {
		s.Fatalf("resume of %s is answered with W %d, want %d", m.id, w, match.Common)
	}
	return w
}

// append appends entries and returns the last answer's W.
func (s *subject) append(m *machine, list ...wire.Entry) wire.Seq {
	s.Helper()
	answers, err := s.try(m, list...)
	if err != nil {
		s.Fatalf("append of %s: %v", m.id, err)
	}
	if len(answers) != len(list) {
		s.Fatalf("%d entries, %d answers", len(list), len(answers))
	}
	return answers[len(answers)-1].W
}

func (s *subject) try(m *machine, list ...wire.Entry) ([]collector.Answer, error) {
	appends := make([]collector.Append, len(list))
	for i, e := range list {
		appends[i] = collector.Append{Stream: m.stream(), Entry: e, Time: now}
	}
	return s.Append(context.Background(), m.session, appends)
}

// keep copies what is only good until a Read's function returns.
func keep(r collector.Stored) collector.Stored {
	r.Entry.Batch = slices.Clone(r.Entry.Batch)
	return r
}
