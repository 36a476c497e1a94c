package heartbeat

import "time"

// Pacer paces one link as one of its sides sees it: when to send a ping, when
// the peer is dead, and how long a ping takes.
//
// A side pings when for one interval it has sent nothing, so that the peer hears
// it; or heard nothing, so that the peer answers even while its work stalls; or,
// if it has something to announce, when its last ping is one interval old. Any
// byte counts, not pings alone. A side that also wants to notice a link which
// carries only towards it (the agent does) tells the pacer only of what answers
// its own bytes, such as pongs and acks, and not of the peer's pings.
type Pacer struct {
	interval time.Duration
	heard    time.Time // last byte in
	sent     time.Time // last byte out
	pinged   time.Time // last ping out
	nonce    uint64    // of the last ping

	// The oldest ping without an answer. Later ones are not measured, so that a
	// link slower than the interval has an RTT as well.
	asked   uint64 // 0: none
	askedAt time.Time
	rtt     time.Duration
}

// NewPacer returns the pacer of a link on which both sides were heard at now.
// The interval has been checked with [CheckInterval].
func NewPacer(interval time.Duration, now time.Time) *Pacer {
	return &Pacer{interval: interval, heard: now, sent: now, pinged: now}
}

// Interval returns the interval.
func (p *Pacer) Interval() time.Duration { return p.interval }

// Heard notes that a byte came in.
func (p *Pacer) Heard(now time.Time) { p.heard = later(p.heard, now) }

// Sent notes that a byte went out.
func (p *Pacer) Sent(now time.Time) { p.sent = later(p.sent, now) }

// Due reports whether a ping is to be sent. news says that there is something to
// announce since the last ping.
func (p *Pacer) Due(now time.Time, news bool) bool { return !now.Before(p.due(news)) }

// due returns when a ping is to be sent. A ping that has just gone out is not
// repeated for an interval, however silent the peer.
func (p *Pacer) due(news bool) time.Time {
	if news {
		return p.pinged.Add(p.interval)
	}
	return later(earlier(p.sent, p.heard), p.pinged).Add(p.interval)
}

// Ping notes that a ping goes out and returns its nonce, which is never 0.
func (p *Pacer) Ping(now time.Time) (nonce uint64) {
	p.nonce++
	p.pinged = later(p.pinged, now)
	p.Sent(now)
	if p.asked == 0 {
		p.asked, p.askedAt = p.nonce, now
	}
	return p.nonce
}

// Pong notes an answer to a ping. It reports whether the answer gave a new RTT;
// one to a nonce that was not asked for, or is not measured, does not.
func (p *Pacer) Pong(nonce uint64, now time.Time) bool {
	p.Heard(now)
	if nonce == 0 || nonce != p.asked {
		return false
	}
	p.asked, p.rtt = 0, max(0, now.Sub(p.askedAt))
	return true
}

// RTT returns the last measured time from a ping to its answer, 0 before the
// first.
func (p *Pacer) RTT() time.Duration { return p.rtt }

// Deadline returns when the peer counts as dead unless it is heard before: two
// intervals and [Slack] after it was last heard.
func (p *Pacer) Deadline() time.Time { return p.heard.Add(2*p.interval + Slack) }

// Dead reports whether the peer counts as dead.
func (p *Pacer) Dead(now time.Time) bool { return !now.Before(p.Deadline()) }

// Next returns when to look again if nothing happens: the time of the next ping
// or of the peer's death, whichever comes first.
func (p *Pacer) Next(news bool) time.Time { return earlier(p.due(news), p.Deadline()) }
