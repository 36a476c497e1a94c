package transport

import (
	"context"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// sent is an entry on its way. It counts against the lane's window until its
// answer is there, or a rewind makes it stale.
type sent struct {
	from, to wire.Seq
	cost     int
	data     bool // no tombstone
	stale    bool // sent before a rewind, which the store therefore discards
}

// stream is where one stream stands on this link. It belongs to the pump.
//
// The collector answers entries in the order in which they were sent, so the
// oldest one without an answer tells what an answer is about. That matters after
// a rewind: the answers to what was sent before it still come, each with the same
// W, and must not rewind again; or every entry would be sent twice for ever. A
// collector may also leave them out.
type stream struct {
	number uint32
	lane   *lane
	epoch  wire.Epoch
	next   wire.Seq // as the resume announced it

	w      wire.Seq // the store has all up to here
	send   wire.Seq // the next to be sent
	top    wire.Seq // highest number sent on this link
	flight []sent   // without an answer, in the order of sending
	wary   bool     // after a rewind, until data is taken: one entry at a time
}

func newStream(l *lane, number uint32, r wire.Resume) *stream {
	return &stream{number: number, lane: l, epoch: r.Epoch, next: r.Next, w: r.Base, send: r.Base + 1, top: r.Base}
}

// waits reports whether the next entry waits for an answer. Where refusals come
// one after the other, whatever is sent ahead is sent in vain. It also keeps what
// is on its way below two windows, stale entries included.
func (s *stream) waits() bool {
	return s.wary && len(s.flight) > 0 && !s.flight[len(s.flight)-1].stale
}

// begin notes that e is on its way.
func (s *stream) begin(e *wire.Entry, cost int) {
	s.flight = append(s.flight, sent{from: e.From, to: e.To, cost: cost, data: !e.IsTombstone()})
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

// covering returns the index of the oldest entry on its way that holds n and is
// not stale, -1 if there is none.
func (s *stream) covering(n wire.Seq) int {
	return slices.IndexFunc(s.flight, func(f sent) bool { return !f.stale && f.from <= n && n <= f.to })
}

// ack takes an answer: the store has all up to w.
func (s *stream) ack(w wire.Seq) error {
	switch {
	case w < s.w:
		return failf(CauseProtocol, "lane %s: the collector acks %d after it has acked %d", s.lane.name, w, s.w)
	case w > s.top:
		return failf(CauseProtocol, "lane %s: the collector acks %d, but only numbers up to %d were sent", s.lane.name, w, s.top)
	case w == s.w:
		s.discarded()
		return nil
	}
	// All before the entry that ends in w was answered before it.
	i := s.covering(w)
	if i >= 0 && s.flight[i].data {
		s.wary = false
	}
	s.forget(i + 1)
	for len(s.flight) > 0 && s.flight[0].to <= w {
		s.forget(1)
	}
	s.w = w
	if w >= s.send {
		s.send = w + 1
		s.lane.drop(s)
	}
	s.lane.source.Ack(s.epoch, w)
	return nil
}

// discarded takes an answer that does not raise W: the store has not taken an
// entry, because it left a gap or was there already.
func (s *stream) discarded() {
	if len(s.flight) == 0 {
		return
	}
	switch head := s.flight[0]; {
	case head.stale:
		s.forget(1)
	case head.from > s.w+1: // a gap
		s.forget(1)
		s.rewind()
	}
	// Else the oldest continues the stream: its own answer is still to come.
}

// reject takes an answer: the store refuses number n for good, and what it came
// with was not taken (rule 10). On an error of the source's the refusal will be
// repeated, because what was refused is sent again.
func (s *stream) reject(ctx context.Context, n wire.Seq, why string) (stopped bool, err error) {
	if n <= s.w || n > s.top {
		return false, failf(CauseProtocol, "lane %s: the collector refuses %d, which is not between what it has (%d) and what was sent (%d)", s.lane.name, n, s.w, s.top)
	}
	s.forget(s.covering(n) + 1)
	s.rewind()
	return s.lane.source.Reject(ctx, s.epoch, n, why)
}

// rewind goes on after W. What is on its way leaves a gap and is discarded, so it
// does not count any more.
func (s *stream) rewind() {
	s.send, s.wary = s.w+1, true
	for i := range s.flight {
		s.lane.inflight -= s.flight[i].cost
		s.flight[i].cost, s.flight[i].stale = 0, true
	}
	s.lane.drop(s)
}
