package transport

import (
	"maps"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// State is what a Client is doing about its link.
type State string

// The states.
const (
	Connected         State = "connected"          // the collector's welcome has been taken
	Connecting        State = "connecting"         // dialing, or waiting for the welcome
	Waiting           State = "waiting"            // until the next attempt
	Refused           State = "refused"            // the collector does not speak with this agent; tried again slowly
	DifferentStore    State = "different-store"    // the collector is a door to another store; tried again slowly
	DuplicateIdentity State = "duplicate-identity" // another process uses this agent's id; tried again slowly
	NotEnrolled       State = "not-enrolled"       // there is no certificate yet; nothing is dialed until there is
	Stopped           State = "stopped"            // Run is not running
)

// Cause tells failures apart.
type Cause string

// The causes.
const (
	CauseName     Cause = "name-resolution"    // the collector's name does not resolve
	CauseRoute    Cause = "no-route"           // its network or host cannot be reached
	CauseRefused  Cause = "connection-refused" // nothing listens there
	CauseTimeout  Cause = "timeout"            // no answer, or none any more
	CauseClosed   Cause = "closed"             // the link was closed or reset
	CauseProtocol Cause = "protocol"           // the peer sent what no collector sends
	CauseLocal    Cause = "local"              // this machine cannot open a connection, e.g. out of descriptors
	CauseQueue    Cause = "queue"              // the lanes cannot take a welcome, e.g. their disk fails
	CauseStore    Cause = "different-store"    // see [DifferentStore]

	CauseTLS         Cause = "tls"                 // either side does not trust the other
	CauseClock       Cause = "clock"               // it would, if this machine's clock were right
	CauseExpired     Cause = "certificate-expired" // this agent's
	CauseNotEnrolled Cause = "not-enrolled"        // see [NotEnrolled]

	// The collector refused, with the code of that name.
	CauseVersion         Cause = "refused:version"
	CauseIdentity        Cause = "refused:identity"
	CauseRefusedProtocol Cause = "refused:protocol"
	CauseBusy            Cause = "refused:busy"
	CauseStoreFails      Cause = "refused:store"
	CauseFenced          Cause = "refused:fenced"
	CausePlaintext       Cause = "refused:tls"
	CauseRevoked         Cause = "refused:revoked"
	CauseToken           Cause = "refused:token"
	CauseNoEnrolment     Cause = "refused:enroll"
	CauseLimit           Cause = "refused:limit"
)

// States and Causes are all there are.
var (
	States = []State{Connected, Connecting, Waiting, Refused, DifferentStore, DuplicateIdentity, NotEnrolled, Stopped}
	Causes = []Cause{CauseName, CauseRoute, CauseRefused, CauseTimeout, CauseClosed, CauseProtocol, CauseLocal, CauseQueue, CauseStore, CauseTLS, CauseClock, CauseExpired, CauseNotEnrolled, CauseVersion, CauseIdentity, CauseRefusedProtocol, CauseBusy, CauseStoreFails, CauseFenced, CausePlaintext, CauseRevoked, CauseToken, CauseNoEnrolment, CauseLimit}
)

// Status is how a Client stands.
type Status struct {
	State   State
	Since   time.Time // when the state began
	Address string    // of the collector last tried, as configured

	Cause     Cause     // of the last failure, "" if there was none
	LastError string    // its text, the peer's part of it escaped
	FailedAt  time.Time // when it was

	Attempts    int       // that failed since a link was last good for a while
	NextAttempt time.Time // zero unless it waits for one

	// Of the link, or the last one.
	RTT     time.Duration // 0: not measured yet
	Session uint64
	Store   wire.StoreID
	// The collector's clock over this machine's, as its last welcome told, to within a
	// round trip; ClockAt is when that was, zero if it never was.
	ClockOffset time.Duration
	ClockAt     time.Time
	Exposed     string // a warning, if it is not encrypted and leaves this machine

	// Since the Client was made.
	Links       uint64           // that were connected
	Failures    map[Cause]uint64 // attempts and links that failed, by cause; of a Status the caller's own
	BytesSent   uint64           // handed to the operating system
	FramesSent  uint64
	EntriesSent uint64 // batches and tombstones, those sent again included
}

// Status returns how the client stands. It may be called at any time, also
// concurrently.
func (c *Client) Status() Status {
	c.mu.Lock()
	s := c.status
	s.Failures = maps.Clone(s.Failures)
	good := c.goodAt
	c.mu.Unlock()
	if s.State == Connected && !time.Now().Before(good) {
		s.Attempts = 0
	}
	s.RTT = time.Duration(c.rtt.Load())
	s.BytesSent, s.FramesSent, s.EntriesSent = c.bytes.Load(), c.frames.Load(), c.entries.Load()
	return s
}

// update changes the status and tells Config.Changed if the state is another one.
// It is called from Run's goroutine.
func (c *Client) update(state State, change func(*Status)) {
	c.mu.Lock()
	changed := c.status.State != state
	if changed {
		c.status.State, c.status.Since = state, time.Now()
	}
	if change != nil {
		change(&c.status)
	}
	c.mu.Unlock()
	if changed && c.cfg.Changed != nil {
		c.cfg.Changed(c.Status())
	}
}
