package ledger

import (
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Lookup returns the fingerprint of a settled number that the ledger does not
// remember, 0 if the store has no record of it any more. The number is one of the
// stream's own: above its Base and at most its W.
type Lookup func(lane wire.Lane, epoch wire.Epoch, n wire.Seq) wire.Fingerprint

// Granted is the event of a hello that was granted a session.
type Granted struct {
	Time     time.Time
	Session  wire.Session
	Instance wire.Instance
	Streams  int // that the hello told of
	Software string
	Host     wire.Host
	Address  string
	Behind   []Behind // streams that the store has less of than was acked
}

// Hello returns the grant for an agent's hello: a session above the one granted
// before and above the one that the agent remembers, which a store restored from
// a backup may have forgotten. nonce must be random; it keeps sessions apart that
// a restored store grants twice under one number.
func (a *Agent) Hello(h *wire.Hello, streams int, address string, now time.Time, nonce wire.ID) Granted {
	return Granted{
		Time:     now,
		Session:  wire.Session{Number: max(a.live.Number, h.LastSession) + 1, Nonce: nonce},
		Instance: h.Instance,
		Streams:  streams,
		Software: h.Software,
		Host:     h.Host,
		Address:  address,
	}
}

// ApplyHello makes g's session the live one; all others are fenced from then on.
func (a *Agent) ApplyHello(g Granted) {
	a.back(g.Time)
	a.replaced(g.Instance, g.Time)
	a.live, a.instance, a.told, a.resumed = g.Session, g.Instance, g.Streams, 0
	a.software, a.host, a.address = g.Software, g.Host, g.Address
	a.seen, a.parting = g.Time, nil
	for _, b := range g.Behind {
		a.incident(Incident{Kind: IncidentStoreBehind, First: g.Time, Lane: b.Lane, Epoch: b.Epoch, From: b.W + 1, To: b.Acked})
	}
}

// ApplyParting notes how the live session ended.
func (a *Agent) ApplyParting(p Parting) {
	a.parting = &p
	if p.Time.After(a.seen) {
		a.seen = p.Time
	}
}

// Match finds the store's stream that has the highest common point with an
// agent's stream (rule 1). Of equal ones it is a stream whose W is that point,
// then the agent's own epoch. A common point of 0 counts only for its own epoch:
// streams that have nothing in common are not related.
func (a *Agent) Match(told *wire.StreamState, lookup Lookup) (m wire.Match) {
	best, c := a.locate(told)
	if best == nil {
		return m
	}
	m = wire.Match{Found: true, Epoch: best.Epoch, W: best.W, Common: c}
	m.FPCommon = a.fingerprint(best, m.Common, lookup)
	m.FPAcked = a.fingerprint(best, min(m.Common, told.Acked), lookup)
	m.Beyond = m.Common == told.Last() && a.beyond(told)
	return m
}

// locate returns the stream of Match and the common point, nil if there is none.
func (a *Agent) locate(told *wire.StreamState) (best *Stream, common wire.Seq) {
	for _, s := range a.streams {
		if s.Lane != told.Lane {
			continue
		}
		own := s.Epoch == told.Epoch
		c := wire.Common(told.Boundaries, told.Last(), s.History, s.W)
		switch {
		case c == 0 && !own:
		case best == nil, c > common,
			c == common && c == s.W && common != best.W,
			c == common && own && (common == best.W) == (c == s.W):
			best, common = s, c
		}
	}
	return best, common
}

// beyond reports whether some stream of the lane goes on behind all that the
// agent has, in the incarnation that the agent is about to go on with: then its
// memory went back (rule 2).
func (a *Agent) beyond(told *wire.StreamState) bool {
	c := told.Last()
	for _, s := range a.streams {
		if s.Lane == told.Lane && s.W > c && s.History.At(c+1) == told.Boundaries.At(c+1) &&
			wire.Common(told.Boundaries, c, s.History, s.W) == c {
			return true
		}
	}
	return false
}

// fingerprint finds the fingerprint of number n of s: in s, or in the stream of
// the lane that n was inherited from.
func (a *Agent) fingerprint(s *Stream, n wire.Seq, lookup Lookup) wire.Fingerprint {
	if fp := a.remembered(s.Lane, s.History.At(n), n); fp != 0 || lookup == nil {
		return fp
	}
	for _, o := range a.streams {
		if o.has(s.Lane, s.History.At(n), n) && n > o.Base {
			if fp := lookup(o.Lane, o.Epoch, n); fp != 0 {
				return fp
			}
		}
	}
	return 0
}

// remembered is the part of fingerprint that memory alone can answer.
func (a *Agent) remembered(lane wire.Lane, inc wire.Incarnation, n wire.Seq) wire.Fingerprint {
	for _, o := range a.streams {
		if o.has(lane, inc, n) {
			if fp := o.known(n); fp != 0 {
				return fp
			}
		}
	}
	return 0
}

// has reports whether s or a stream it was forked from has settled number n of
// an incarnation.
func (s *Stream) has(lane wire.Lane, inc wire.Incarnation, n wire.Seq) bool {
	return n > 0 && n <= s.W && s.Lane == lane && !inc.IsZero() && s.History.At(n) == inc
}

// known returns the fingerprint of number n, at most W, if it is one of those
// that are kept for ever: at W, at Base, and at the end of each boundary.
func (s *Stream) known(n wire.Seq) wire.Fingerprint {
	switch {
	case n == s.W:
		return s.fpW
	case n == s.Base && s.fpBase != 0:
		return s.fpBase
	}
	// The boundary behind the one that covers n begins right after n.
	lo, hi := 1, len(s.History)
	for lo < hi {
		mid := (lo + hi) / 2
		if s.History[mid].First <= n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(s.History) && s.History[lo].First == n+1 {
		return s.ends[lo-1]
	}
	return 0
}
