package collector

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/wire"
)

// AgentStatus is what the server says of one agent. Texts that came from the
// agent are cut, and escaped where they would not print.
type AgentStatus struct {
	ID    wire.AgentID    `json:"id"`
	State heartbeat.State `json:"state"` // unknown, online, late, offline, goodbye
	Since time.Time       `json:"since"` // when the state began
	Cause string          `json:"cause"` // why

	Address   string        `json:"address,omitempty"`   // host and port of its link, or of its last one
	Connected time.Time     `json:"connected,omitzero"`  // when the link was welcomed; zero: no link here
	Seen      time.Time     `json:"seen,omitzero"`       // when its last byte came
	RTT       time.Duration `json:"rtt,omitempty"`       // last round trip on the link, ns; 0: not measured
	Heartbeat time.Duration `json:"heartbeat,omitempty"` // interval of the link, ns; 0: no link
	Session   uint64        `json:"session,omitempty"`   // number of the link's session; 0: no link

	// Announced by the agent and not settled in the store, as of its last word.
	Backlog      uint64        `json:"backlog"`              // messages
	BacklogBytes uint64        `json:"backlog_bytes"`        // as they lie in its queue
	OldestAge    time.Duration `json:"oldest_age,omitempty"` // of the oldest of them, ns; 0: none, or not known

	// When another process took the agent's id while its link was alive; zero: not
	// since this server began. Once may be a restart, again are two agents of one id.
	Contested time.Time `json:"contested,omitzero"`

	Software string    `json:"software,omitempty"` // name and version of its program
	Host     wire.Host `json:"host"`               // its machine
}

// status returns a's status; Server.mu is held.
func (a *agent) status(now time.Time) AgentStatus {
	st := AgentStatus{
		ID: a.id, State: a.live.State(), Since: a.live.Since().Round(0), Cause: a.live.Cause(),
		Address: a.address, Seen: a.seen.Round(0), RTT: a.rtt, Contested: a.contested, Software: a.software, Host: a.host,
	}
	left := a.left
	if l := a.link; l != nil {
		st.Connected, st.Seen = l.since.Round(0), l.in.lastHeard().Round(0)
		st.Heartbeat, st.Session, st.RTT = l.interval, l.session.Number, l.roundTrip()
		left = l.pending.backlog()
	}
	st.Backlog, st.BacklogBytes = left.messages, left.bytes
	if !left.oldest.IsZero() {
		st.OldestAge = max(0, now.Sub(left.oldest))
	}
	return st
}

// roundTrip returns the link's last round trip, 0 if none was measured.
func (l *link) roundTrip() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pacer.RTT()
}

// level returns how loud a change to a state is logged.
func level(s heartbeat.State) slog.Level {
	if s == heartbeat.Late || s == heartbeat.Offline {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Stats counts what a server did since New, but for the first group, which is
// now.
type Stats struct {
	Links        int                     `json:"links"`        // welcomed
	Unidentified int                     `json:"unidentified"` // not welcomed yet
	Agents       map[heartbeat.State]int `json:"agents"`       // how many are in each state
	Memory       int64                   `json:"memory"`       // bytes of batches reserved

	Accepted  uint64 `json:"accepted"`   // connections
	TLSFailed uint64 `json:"tls_failed"` // of them, those that could not be secured
	Enrolled  uint64 `json:"enrolled"`   // certificates given
	Sessions  uint64 `json:"sessions"`   // welcomes
	Streams   uint64 `json:"streams"`    // resumes
	BytesIn   uint64 `json:"bytes_in"`
	BytesOut  uint64 `json:"bytes_out"`
	FramesIn  uint64 `json:"frames_in"`

	Entries    uint64                 `json:"entries"`    // came whole and well-formed
	Messages   uint64                 `json:"messages"`   // stored
	Tombstoned map[wire.Reason]uint64 `json:"tombstoned"` // numbers settled by tombstones, by reason
	Duplicates uint64                 `json:"duplicates"` // entries that the store had
	Gaps       uint64                 `json:"gaps"`       // entries that did not follow what the store had
	Rejects    uint64                 `json:"rejects"`    // numbers refused for good

	Appends  Durations     `json:"appends"`   // calls of Store.Append that returned answers
	StoreLag time.Duration `json:"store_lag"` // for how long the oldest call that is under way has been, ns; 0: none is

	Contested int           `json:"contested"` // agents whose id another process took within the last hour while their link was alive
	MaxRTT    time.Duration `json:"max_rtt"`   // the longest of the links' last round trips, ns

	Refused map[wire.RefuseCode]uint64 `json:"refused"` // links, by code
}

// counters are what Stats is made of.
type counters struct {
	accepted, sessions, streams, framesIn atomic.Uint64
	tlsFailed, enrolled                   atomic.Uint64
	entries, messages                     atomic.Uint64
	tombstoned                            [maxReasons]atomic.Uint64 // by reason
	duplicates, gaps, rejects             atomic.Uint64
	bytesIn, bytesOut                     atomic.Int64

	mu      sync.Mutex
	appends Durations
	running map[*pending]time.Time // since when a call of Store.Append is under way
	codes   map[wire.RefuseCode]uint64
}

// maxReasons is above every [wire.Reason].
const maxReasons = 32

// appending notes that a call of Store.Append begins, appended that it has ended, with
// answers or without.
func (c *counters) appending(p *pending, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = map[*pending]time.Time{}
	}
	c.running[p] = now
}

func (c *counters) appended(p *pending, now time.Time, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answered {
		c.appends.Note(now.Sub(c.running[p]))
	}
	delete(c.running, p)
}

// refused notes a link that was refused.
func (c *counters) refused(code wire.RefuseCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codes == nil {
		c.codes = map[wire.RefuseCode]uint64{}
	}
	c.codes[code]++
}

// Stats returns the server's figures. The caller owns the maps.
func (s *Server) Stats() Stats {
	c := &s.count
	st := Stats{
		Agents: map[heartbeat.State]int{}, Refused: map[wire.RefuseCode]uint64{}, Memory: s.memory.reserved(),
		Accepted: c.accepted.Load(), TLSFailed: c.tlsFailed.Load(), Enrolled: c.enrolled.Load(), Sessions: c.sessions.Load(), Streams: c.streams.Load(),
		BytesIn: uint64(c.bytesIn.Load()), BytesOut: uint64(c.bytesOut.Load()), FramesIn: c.framesIn.Load(),
		Entries: c.entries.Load(), Messages: c.messages.Load(), Tombstoned: map[wire.Reason]uint64{},
		Duplicates: c.duplicates.Load(), Gaps: c.gaps.Load(), Rejects: c.rejects.Load(),
	}
	c.mu.Lock()
	for code, n := range c.codes {
		st.Refused[code] = n
	}
	st.Appends = c.appends
	now := time.Now()
	for _, began := range c.running {
		st.StoreLag = max(st.StoreLag, now.Sub(began))
	}
	c.mu.Unlock()
	for _, r := range wire.Reasons() {
		st.Tombstoned[r] = c.tombstoned[r%maxReasons].Load()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Unidentified = s.unidentified
	for _, a := range s.agents {
		st.Agents[a.live.State()]++
		if a.link != nil {
			st.Links++
			st.MaxRTT = max(st.MaxRTT, a.link.roundTrip())
		}
		if !a.contested.IsZero() && now.Sub(a.contested) < time.Hour {
			st.Contested++
		}
	}
	return st
}
