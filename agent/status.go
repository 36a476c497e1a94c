package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// Status is what an agent says of itself. As JSON, durations are seconds and
// times RFC 3339; what does not apply is left out.
type Status struct {
	ID       string        `json:"id"`
	Dir      string        `json:"dir"`
	Instance wire.Instance `json:"instance,omitzero"` // of the running process; none on a folder at rest
	Opened   time.Time     `json:"opened,omitzero"`
	DiskFree int64         `json:"disk_free_bytes,omitempty"` // of the disk that has the folder; of a running agent
	DiskSize int64         `json:"disk_size_bytes,omitempty"`
	Link     LinkStatus    `json:"link"`
	Lanes    []LaneStatus  `json:"lanes"` // the default lane first, the others by name
}

// LinkStatus is the state of the way to the collector.
type LinkStatus struct {
	State       string       `json:"state"` // connected, connecting, waiting, refused, different-store, duplicate-identity, not-enrolled, stopped
	Since       time.Time    `json:"since,omitzero"`
	Collector   string       `json:"collector,omitempty"`   // host:port of this link, or of the last attempt
	Store       wire.StoreID `json:"store,omitzero"`        // that the link leads to
	Session     uint64       `json:"session,omitempty"`     // number of the session
	RTT         Seconds      `json:"rtt_seconds,omitempty"` // of the last ping
	Cause       string       `json:"cause,omitempty"`       // class of the last failure
	Error       string       `json:"error,omitempty"`       // the last failure, and what to do next
	FailedAt    time.Time    `json:"failed_at,omitzero"`    // when that was
	Attempts    int          `json:"attempts,omitempty"`    // failed ones since the last good link
	NextAttempt time.Time    `json:"next_attempt,omitzero"` // while waiting

	ClockOffset Seconds   `json:"clock_offset_seconds,omitempty"` // the collector's clock over this machine's, as its last welcome told
	ClockAt     time.Time `json:"clock_at,omitzero"`              // when that was

	// Since the agent was opened.
	Links       uint64                     `json:"links,omitempty"`      // that were connected
	Failures    map[transport.Cause]uint64 `json:"failures,omitempty"`   // attempts and links that failed, by cause
	BytesSent   uint64                     `json:"bytes_sent,omitempty"` // before encryption
	FramesSent  uint64                     `json:"frames_sent,omitempty"`
	EntriesSent uint64                     `json:"entries_sent,omitempty"` // batches and tombstones, those sent again included

	Security         string    `json:"security,omitempty"`          // encrypted or plaintext
	Exposed          string    `json:"exposed,omitempty"`           // a warning: plain text that leaves this machine
	CertificateEnds  time.Time `json:"certificate_ends,omitzero"`   // when this agent's certificate expires
	CertificateDays  Days      `json:"certificate_days,omitempty"`  // until then, below 0 after it
	CertificateError string    `json:"certificate_error,omitempty"` // what is wrong with its files, or why it was not renewed
}

// LinkStates and LinkCauses are the values of LinkStatus.State, and of its Cause and
// Failures.
var (
	LinkStates = transport.States
	LinkCauses = transport.Causes
)

// What links are.
const (
	Encrypted = "encrypted"
	Plaintext = "plaintext"
)

// Days is a duration that JSON shows as a number of days.
type Days time.Duration

// MarshalJSON returns the days as a decimal number.
func (d Days) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", time.Duration(d).Hours()/24), nil
}

// UnmarshalJSON is the reverse of MarshalJSON, to the precision that it keeps.
func (d *Days) UnmarshalJSON(b []byte) error {
	var f float64
	if _, err := fmt.Sscanf(string(b), "%g", &f); err != nil {
		return fmt.Errorf("days %.20q: %w", b, err)
	}
	*d = Days(f * 24 * float64(time.Hour))
	return nil
}

// The states of a lane of a running agent.
const (
	LaneAccepting = "accepting"
	LaneFull      = "full"     // its limits have no room
	LaneFailing   = "failing"  // the disk takes nothing, or less is free than is to stay free
	LaneStopped   = "stopped"  // the store has refused too many messages in a row
	LaneDraining  = "draining" // it is not in the configuration, and has a backlog
	LaneDrained   = "drained"  // it is not in the configuration
	LaneBroken    = "broken"   // it cannot be opened now
)

// LaneStates are all of them.
var LaneStates = []string{LaneAccepting, LaneFull, LaneFailing, LaneStopped, LaneDraining, LaneDrained, LaneBroken}

// LaneStatus is the state of one lane.
type LaneStatus struct {
	Lane          string                 `json:"lane"`
	State         string                 `json:"state,omitempty"`     // one of LaneStates, of a running agent
	Draining      bool                   `json:"draining,omitempty"`  // not in the configuration: accepts nothing; drained when the backlog is 0
	Priority      int                    `json:"priority,omitempty"`  // on the link
	Share         int                    `json:"share,omitempty"`     // per cent of the link that it keeps; of a running agent
	MaxBytes      int64                  `json:"max_bytes,omitempty"` // the lane's settings, of a running agent; left out: defaults
	MaxMessages   uint64                 `json:"max_messages,omitempty"`
	MaxAge        Seconds                `json:"max_age_seconds,omitempty"`
	FreeSpace     int64                  `json:"free_space,omitempty"`
	Overflow      Overflow               `json:"overflow,omitempty"`
	SyncInterval  Seconds                `json:"sync_interval_seconds,omitempty"`
	Compression   Codec                  `json:"compression,omitempty"`
	Epoch         wire.Epoch             `json:"epoch"`
	Accepted      uint64                 `json:"accepted"` // messages since the folder was made
	Next          wire.Seq               `json:"next"`     // number of the next message in this epoch
	Acked         wire.Seq               `json:"acked"`    // largest number that the store has acked
	Backlog       uint64                 `json:"backlog"`  // messages without an ack
	BacklogBytes  uint64                 `json:"backlog_bytes"`
	Oldest        time.Time              `json:"oldest,omitzero"`              // time of the oldest message without an ack
	OldestAge     Seconds                `json:"oldest_age_seconds,omitempty"` // its age
	LiveFirst     Seconds                `json:"live_first_seconds,omitempty"`
	Streams       int                    `json:"streams"`                  // that are not drained, the one that takes messages included
	Segments      int                    `json:"segments"`                 // files
	DiskBytes     int64                  `json:"disk_bytes,omitempty"`     // that they take; of a running agent
	AckedMessages uint64                 `json:"acked_messages,omitempty"` // numbers that were acked since the agent was opened
	Commits       uint64                 `json:"commits,omitempty"`        // transactions since the agent was opened
	Syncs         SyncTimes              `json:"syncs,omitzero"`           // their fsyncs
	Dropped       map[wire.Reason]uint64 `json:"dropped,omitempty"`        // numbers with a tombstone, by reason
	DeadLetters   uint64                 `json:"dead_letters,omitempty"`   // messages that the store refused for good
	LettersKept   uint64                 `json:"letters_kept,omitempty"`   // of them, those that are kept as dead letters
	LettersLost   uint64                 `json:"letters_lost,omitempty"`   // and those that had to go because there were too many
	Forks         uint64                 `json:"forks,omitempty"`          // times that folder and store had parted (rolled back)
	RolledBack    uint64                 `json:"rolled_back,omitempty"`    // times that memory was seen to have gone back
	Relabelled    uint64                 `json:"relabelled,omitempty"`     // messages that are marked "may be doubled" because of that
	Quarantined   int                    `json:"quarantined,omitempty"`    // damaged files of which a copy is kept
	Trouble       string                 `json:"trouble,omitempty"`        // what is wrong with the lane now
	ToDo          []string               `json:"to_do,omitempty"`          // what an operator does about Forks and RolledBack
}

// SyncTimes says how long fsyncs took that succeeded.
type SyncTimes struct {
	Count  uint64    `json:"count"`
	Sum    Seconds   `json:"sum_seconds"`
	Bounds []Seconds `json:"bounds_seconds"` // ascending
	Within []uint64  `json:"within"`         // how many took no longer than the bound of the same index
}

func syncTimes(s *queue.SyncTimes) (t SyncTimes) {
	if s.Count == 0 {
		return t
	}
	t.Count, t.Sum, t.Within = s.Count, Seconds(s.Sum), s.Within[:]
	for _, d := range queue.SyncBounds {
		t.Bounds = append(t.Bounds, Seconds(d))
	}
	return t
}

// What an operator does about what has happened to a folder.
const (
	afterFork        = "nothing is lost or doubled; was the folder restored from an older copy, or this machine cloned? A clone needs a folder and an id of its own; collector agents ID has the history"
	afterRelabelling = "whoever reads what is marked \"may be doubled\" must expect doubles; stop the agent before this machine is set back to a snapshot; collector agents ID has the numbers"
)

func laneStatus(name wire.Lane, st queue.Stats, now time.Time) LaneStatus {
	l := LaneStatus{
		Lane: string(name), Epoch: st.Epoch, Accepted: st.Accepted, Next: st.Next, Acked: st.Acked,
		Backlog: st.Backlog, BacklogBytes: st.BacklogBytes, Oldest: st.OldestTime, Streams: st.Streams, Segments: st.Segments, DiskBytes: st.DiskBytes,
		Commits: st.Commits, AckedMessages: st.AckedCount, Syncs: syncTimes(&st.Syncs),
		Dropped: st.Dropped, DeadLetters: st.DeadLetters, LettersKept: st.LettersKept, LettersLost: st.LettersLost, Forks: st.Forks, RolledBack: st.RolledBack, Relabelled: st.Relabelled, Quarantined: st.Quarantined,
	}
	if l.Forks > 0 {
		l.ToDo = append(l.ToDo, "rolled back: "+afterFork)
	}
	if l.RolledBack > 0 {
		l.ToDo = append(l.ToDo, "memory went back: "+afterRelabelling)
	}
	if !st.OldestTime.IsZero() {
		l.OldestAge = Seconds(max(0, now.Sub(st.OldestTime)))
	}
	l.Trouble = trouble(&st)
	return l
}

// Seconds is a duration that JSON shows as a number of seconds.
type Seconds time.Duration

// MarshalJSON returns the seconds as a decimal number.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.6g", time.Duration(s).Seconds()), nil
}

// UnmarshalJSON is the reverse of MarshalJSON, to the precision that it keeps.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if _, err := fmt.Sscanf(string(b), "%g", &f); err != nil {
		return fmt.Errorf("seconds %.20q: %w", b, err)
	}
	*s = Seconds(f * float64(time.Second))
	return nil
}

// Status returns the agent's state now. It costs little and may be called often.
func (a *Agent) Status() Status {
	s := Status{ID: string(a.id), Dir: a.cfg.Dir, Instance: a.instance, Opened: a.opened, Link: a.linkStatus()}
	s.DiskFree, s.DiskSize, _ = queue.DiskSpace(a.cfg.Dir) // unknown: left out
	for _, name := range a.set.Load().names {
		q, err := a.ready(name)
		l := LaneStatus{Lane: string(name), State: LaneBroken}
		cfg, ok := a.terms.Load().cfg.Lanes[string(name)]
		if err == nil {
			st := q.Stats()
			l = laneStatus(name, st, time.Now())
			l.State, _ = laneState(&st, ok)
		} else {
			l.Trouble = err.Error()
		}
		l.Draining = !ok
		l.setPolicy(&cfg)
		s.Lanes = append(s.Lanes, l)
	}
	return s
}

// laneState returns in which state a lane of a running agent is, and why if it does not
// take or give messages.
func laneState(st *queue.Stats, accepts bool) (state, why string) {
	switch {
	case st.Stopped:
		return LaneStopped, trouble(st)
	case st.Failing != nil:
		return LaneFailing, trouble(st)
	case !accepts && st.Backlog > 0:
		return LaneDraining, ""
	case !accepts:
		return LaneDrained, ""
	case st.Full != nil:
		return LaneFull, st.Full.Error()
	}
	return LaneAccepting, ""
}

// trouble says what is wrong with a lane, "" if nothing is.
func trouble(st *queue.Stats) string {
	switch {
	case st.Stopped:
		return "stopped: the store has refused too many messages in a row; see the dead letters"
	case st.Failing != nil:
		return "accepts nothing until a try succeeds: " + st.Failing.Error()
	}
	return ""
}

// setPolicy says what the lane's settings are.
func (l *LaneStatus) setPolicy(cfg *LaneConfig) {
	l.Priority, l.Share = cfg.Priority, cfg.Share
	l.MaxBytes, l.MaxMessages, l.MaxAge, l.FreeSpace = cfg.MaxBytes, cfg.MaxMessages, Seconds(cfg.MaxAge), cfg.FreeSpace
	l.Overflow, l.SyncInterval, l.Compression = cfg.Overflow, Seconds(cfg.SyncInterval), cfg.Compression
	l.LiveFirst = Seconds(cfg.LiveFirst)
	if l.Share == 0 {
		l.Share = transport.DefaultShare
	}
}

func (a *Agent) linkStatus() LinkStatus {
	if a.link == nil {
		return LinkStatus{State: string(transport.Stopped), Since: a.opened}
	}
	t := a.link.Status()
	s := LinkStatus{
		State: string(t.State), Since: t.Since, Collector: t.Address, Store: t.Store, Session: t.Session, RTT: Seconds(t.RTT),
		Cause: string(t.Cause), Error: t.LastError, FailedAt: t.FailedAt, Attempts: t.Attempts, NextAttempt: t.NextAttempt,
		ClockOffset: Seconds(t.ClockOffset), ClockAt: t.ClockAt,
		Exposed: t.Exposed, Links: t.Links, Failures: t.Failures, BytesSent: t.BytesSent, FramesSent: t.FramesSent, EntriesSent: t.EntriesSent,
	}
	a.security(&s)
	return s
}

// ReadStatus returns what the folder of an agent that does not run says. It
// changes nothing. The errors are ErrInUse if an agent runs on it, fs.ErrNotExist
// if there is none, ErrNotAQueue.
func ReadStatus(dir string) (Status, error) {
	s, err := readStatus(dir)
	if err != nil {
		return Status{}, fmt.Errorf("agent: %w", err)
	}
	return s, nil
}

func readStatus(dir string) (Status, error) {
	if err := readable(dir); err != nil {
		return Status{}, err
	}
	id, err := readIdentity(dir)
	if err != nil {
		return Status{}, err
	}
	s := Status{ID: string(id), Dir: dir, Link: LinkStatus{State: string(transport.Stopped)}}
	names, err := lanesOnDisk(dir)
	if err != nil {
		return Status{}, err
	}
	sortLanes(names)
	for _, name := range names {
		st, err := queue.ReadStats(laneDir(dir, name))
		switch {
		case errors.Is(err, queue.ErrNotAQueue): // its first opening was cut short: it holds nothing
			st = queue.Stats{Next: 1}
		case err != nil:
			return Status{}, fmt.Errorf("lane %s: %w", name, err)
		}
		s.Lanes = append(s.Lanes, laneStatus(name, st, time.Now()))
	}
	return s, nil
}

// heldElsewhere reports whether an agent runs on dir, without making the lock
// file.
func heldElsewhere(dir string) (bool, error) {
	l := flock.New(filepath.Join(dir, lockFile), flock.SetFlag(0))
	ok, err := l.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("lock %s: %w", dir, err)
	case !ok:
		return true, nil
	}
	return false, l.Unlock()
}
