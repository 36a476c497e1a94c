//go:build unix

package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

// resender is an agent that sends again what the collector has already: one that
// ignores the welcome and its acks. Ours does not, so it is written here, from
// frames.
type resender struct {
	t     *testing.T
	s     *site
	state wire.StreamState
	c     net.Conn
	buf   []byte
}

func newResender(s *site, last wire.Seq) *resender {
	return &resender{t: s.t, s: s, state: wire.StreamState{
		Lane: wire.DefaultLane, Epoch: wire.Epoch{ID: wire.NewID()}, Next: last + 1,
		Boundaries: wire.History{{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: 1}},
	}}
}

// connect opens a session.
func (r *resender) connect() {
	r.t.Helper()
	var err error
	if r.c, err = net.Dial("tcp", r.s.listen); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.c.Close() })
	r.c.SetDeadline(time.Now().Add(20 * time.Second))
	out := wire.AppendJSON(nil, wire.TypeHello, wire.Hello{Protocol: wire.Version, Agent: agentID, Instance: wire.Instance{ID: wire.NewID()}, Streams: 1})
	out = wire.AppendHistory(out, r.state)
	r.write(out)
	var w wire.Welcome
	if err := wire.ParseJSON(wire.TypeWelcome, r.await(wire.TypeWelcome), &w); err != nil {
		r.t.Fatal(err)
	}
	// A known stream can only be resumed from its W; what is sent then is the
	// resender's own affair.
	resume := wire.Resume{Stream: 1, Lane: r.state.Lane, Epoch: r.state.Epoch, Next: r.state.Next, Boundaries: r.state.Boundaries}
	if w.Matches[0].Found {
		resume.Base = w.Matches[0].W
	}
	r.write(wire.AppendResume(nil, resume))
}

func (r *resender) write(b []byte) {
	r.t.Helper()
	if _, err := r.c.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// await reads frames until one of a type and returns its payload.
func (r *resender) await(want wire.Type) []byte {
	r.t.Helper()
	for {
		t, p, buf, err := wire.ReadFrame(r.c, r.buf, wire.MaxFrame)
		if err != nil {
			r.t.Fatalf("wait for %s: %v", want, err)
		}
		if r.buf = buf; t == want {
			return p
		}
		if t == wire.TypeRefuse {
			r.t.Fatalf("refused: %s", p)
		}
	}
}

// send sends numbers first to last as one batch.
func (r *resender) send(first, last wire.Seq) {
	r.t.Helper()
	var records []byte
	for n := first; n <= last; n++ {
		var err error
		if records, err = wire.AppendRecord(records, &wire.Message{Topic: "t", Time: time.Unix(int64(n), 0), Body: body(n)}); err != nil {
			r.t.Fatal(err)
		}
	}
	inc := r.state.Boundaries[0].Incarnation
	batch := wire.AppendBatch(nil, wire.BatchHeader{Lane: r.state.Lane, Epoch: r.state.Epoch, Incarnation: inc, First: first, Count: uint32(last - first + 1)}, records)
	r.write(wire.AppendData(nil, 1, &wire.Entry{From: first, To: last, Incarnation: inc, Batch: batch}, 0))
}

// acked waits until the collector has all numbers up to w.
func (r *resender) acked(w wire.Seq) {
	r.t.Helper()
	for {
		_, got, err := wire.ParseAck(r.await(wire.TypeAck))
		if err != nil {
			r.t.Fatal(err)
		}
		if got >= w {
			return
		}
	}
}

func body(n wire.Seq) []byte { return fmt.Appendf(nil, "message %d", n) }

// resend sends 30 messages several times over: the same batch again, batches that
// overlap what is stored, all of it in a new session, and after a kill -9 of the
// collector.
func resend(s *site) {
	s.t.Helper()
	for n := wire.Seq(1); n <= 30; n++ {
		s.sent = append(s.sent, &attempt{oracle.Message{Agent: agentID, Lane: "default", Producer: "p", Topic: "t", Body: body(n)}, oracle.Accepted})
	}
	s.startCollector()
	r := newResender(s, 30)
	r.connect()
	r.send(1, 10)
	r.send(1, 10)
	r.send(3, 15)
	r.acked(15)
	r.connect()
	r.send(1, 15)
	r.send(16, 20)
	r.acked(20)
	s.collector.kill()
	s.startCollector()
	r.connect()
	r.send(1, 15)
	r.send(1, 25)
	r.send(21, 30)
	r.acked(30)
}

// Rule 9: what has arrived before is answered and not stored again.
func TestRule9ResentIsNotStoredAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	resend(s)
	s.mustHold()
}
