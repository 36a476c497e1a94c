package transport

import (
	"context"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// sent is an entry on its way: it counts against the lane's window until its
// answer is there.
type sent struct {
	from, to wire.Seq
	cost     int
}

// stream is where one stream stands on this link. It belongs to the pump.
//
// The collector answers entries in the order in which they were sent, so the
// oldest one without an answer tells what an answer is about. That matters after
// a rewind: the answers to what was sent before it still come, each with the same
// W, and must not rewind again; or every entry would be sent twice for ever.
type stream struct {
	number uint32
	lane   *lane
	epoch  wire.Epoch
	next   wire.Seq // as the resume announced it

	w      wire.Seq // the store has all up to here
	send   wire.Seq // the next to be sent
	top    wire.Seq // highest number sent on this link
	flight []sent   // without an answer, in the order of sending
	doubt  time.Time
}

func newStream(l *lane, number uint32, r wire.Resume) *stream {
	return &stream{number: number, lane: l, epoch: r.Epoch, next: r.Next, w: r.Base, send: r.Base + 1, top: r.Base}
}

// begin notes that e is on its way.
func (s *stream) begin(e *wire.Entry, cost int) {
	s.flight = append(s.flight, sent{e.From, e.To, cost})
	s.lane.inflight += cost
	s.send, s.top = e.To+1, max(s.top, e.To)
}

// forget takes the oldest n entries off the account.
func (s *stream) forget(n int) {
	for _, f := range s.flight[:n] {
		s.lane.inflight -= f.cost
	}
	if s.flight = s.flight[n:]; len(s.flight) == 0 {
		s.flight = nil
	}
}

// covering returns the index of the oldest entry on its way that holds n, -1 if
// none does.
func (s *stream) covering(n wire.Seq) int {
	for i, f := range s.flight {
		if f.from <= n && n <= f.to {
			return i
		}
	}
	return -1
}

// ack takes an answer: the store has all up to w.
func (s *stream) ack(w wire.Seq, now time.Time) error {
	switch {
	case w < s.w:
		return failf(CauseProtocol, "lane %s: the collector acks %d after it has acked %d", s.lane.name, w, s.w)
	case w > s.top:
		return failf(CauseProtocol, "lane %s: the collector acks %d, but only numbers up to %d were sent", s.lane.name, w, s.top)
	case w == s.w:
		s.discarded(now)
		return nil
	}
	// All before the entry that ends in w was answered before it.
	s.forget(s.covering(w) + 1)
	for len(s.flight) > 0 && s.flight[0].to <= w {
		s.forget(1)
	}
	s.w, s.doubt = w, time.Time{}
	if w >= s.send {
		s.rewind()
	}
	s.lane.source.Ack(s.epoch, w)
	return nil
}

// discarded takes an answer that does not raise W: the store has not taken an
// entry, because it left a gap or was there already.
func (s *stream) discarded(now time.Time) {
	s.doubt = now
	if len(s.flight) > 0 {
		if head := s.flight[0]; head.from <= s.w+1 && s.w < head.to {
			return // it continues the stream, so its own answer is still to come
		}
		s.forget(1)
	}
	if s.covering(s.w+1) < 0 {
		s.rewind()
	}
}

// reject takes an answer: the store refuses number n for good, and what it came
// with was not taken (rule 10). On an error of the source's the refusal will be
// repeated, because what was refused is sent again.
func (s *stream) reject(ctx context.Context, n wire.Seq, why string, now time.Time) (stopped bool, err error) {
	if n <= s.w || n > s.top {
		return false, failf(CauseProtocol, "lane %s: the collector refuses %d, which is not between what it has (%d) and what was sent (%d)", s.lane.name, n, s.w, s.top)
	}
	s.forget(s.covering(n) + 1)
	s.doubt = now
	s.rewind()
	return s.lane.source.Reject(ctx, s.epoch, n, why)
}

// rewind goes on after W.
func (s *stream) rewind() {
	s.send = s.w + 1
	s.lane.drop(s)
}

// settle helps a stream out for which, for a whole interval after an answer that
// took nothing, nothing went on: a collector may leave out answers to what it
// discarded, which would then count against the window for ever.
func (s *stream) settle(now time.Time, interval time.Duration) {
	if s.doubt.IsZero() || now.Sub(s.doubt) < interval {
		return
	}
	s.doubt = time.Time{}
	s.forget(len(s.flight))
	s.rewind()
}
