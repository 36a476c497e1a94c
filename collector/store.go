package collector

import (
	"context"
	"errors"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Store is what a collector makes durable before it acks. Several collectors
// may be doors to one store, so a collector keeps no protocol state of its own:
// sessions, watermarks and fencing live here. Package storetest has the suite
// that every store must pass.
//
// All methods may be called concurrently. Each of Hello, Resume and Append is
// one transaction, and durable before it returns nil. An error other than those
// named means that the outcome is unknown: the caller ends the session, and the
// agent's next hello finds out. Slices and batches that are passed in are good
// until the method returns and are not changed.
type Store interface {
	// Identity returns who the store is; it does not change while it is open.
	Identity() Identity

	// Hello grants a session to an agent, fences every other session of that
	// agent id (rule 15), and finds for each of its streams the store's stream of
	// that lane with the highest common point (rule 1). The session's number is
	// above the one granted before and above h.LastSession. ErrLimit: it is one agent
	// too many.
	Hello(ctx context.Context, h Hello) (Grant, error)

	// Resume opens a stream: an unknown one is created with W = r.Base and r's
	// boundaries up to it; and it notes what r announces (rule 11). It returns the
	// stream's W. ErrFenced: s is not the live session. ErrConflict: r's boundaries
	// disagree with the stream's at or below W, or W is not r.Base, or the stream is
	// unknown and no stream of the lane has number r.Base of that incarnation.
	// ErrMoved: an import has brought more since the hello. ErrLimit: it is one stream
	// too many of this agent.
	Resume(ctx context.Context, s Session, r wire.Resume) (wire.Seq, error)

	// Announce notes that every number below Next exists. It needs not be durable
	// at once. ErrFenced and ErrUnknown as for Append.
	Announce(ctx context.Context, s Session, list []Announcement) error

	// Append applies entries of one session, in order, in one transaction: each
	// only if s is the live session and the entry continues its stream (rule 9).
	// There is one answer for each entry. For an entry that leaves a gap, or that
	// the store has already, the answer is W and nothing changes; of one that
	// straddles W, only what is above W counts. The entries have been checked
	// (wire.Entry.Check and the batch's records). ErrFenced: s is not the live
	// session, nothing was applied. ErrUnknown: a stream that no resume of this
	// session has opened, nothing was applied. ErrMoved: an import has brought something
	// of a stream's lane since the session resumed it; nothing was applied.
	Append(ctx context.Context, s Session, list []Append) ([]Answer, error)

	// Import applies entries of one stream that no link has brought: a carry file has
	// (rule 16). It asks for no session and fences none. In one transaction it finds
	// the common point of im.Stream and the lane's streams (rule 1), and applies each
	// entry, in order, from the number behind it on: to the stream whose W is the
	// common point, or to a new one behind it where the lines have parted (rule 2).
	// What the store has already changes nothing, so the same entries may come again,
	// and at the same time by a link. If it applies
	// something, a session that has resumed streams of the lane gets ErrMoved for its
	// next entry: the next hello finds out where it stands. The entries have been
	// checked as for Append. Without entries it only looks.
	//
	// ErrGap: an entry does not follow the common point. ErrMemory: the fingerprints
	// at the common point differ. After either nothing was applied.
	Import(ctx context.Context, im Import) (Imported, error)

	// Part notes that a session has ended and why. It needs not be durable, and a
	// session that is not live any more is ignored.
	Part(ctx context.Context, s Session, p Parting) error

	// Agents returns all agents that the store has seen, in order of their ids.
	Agents(ctx context.Context) ([]Known, error)

	// Read calls f with what the store holds after a cursor, in the order in which
	// it was appended: for an agent and a lane that is the order of its streams.
	// The zero cursor is the beginning. It shows synced state only (rule 6), ends
	// at the end of it or with f's first error, and returns the cursor to go on
	// from. Memory does not depend on how much is read. The batch passed to f is
	// good until f returns.
	Read(ctx context.Context, after Cursor, f func(Stored) error) (Cursor, error)
}

// Identity says which store this is.
type Identity struct {
	ID          wire.StoreID
	Replaces    []wire.StoreID // stores that an operator has declared replaced by this one
	ReplacesAny bool           // it replaces whatever store an agent comes from
}

// Session is a granted session of an agent.
type Session struct {
	Agent wire.AgentID
	wire.Session
}

// Hello is an agent's hello with its streams and where it came from.
type Hello struct {
	wire.Hello
	Streams []wire.StreamState
	Address string    // host and port of the peer
	Time    time.Time // when it came
}

// Grant is a store's answer to a hello.
type Grant struct {
	Session wire.Session
	Matches []wire.Match // one for each stream of the hello, in its order
}

// Stream names a stream of an agent.
type Stream struct {
	Lane  wire.Lane
	Epoch wire.Epoch
}

// Append is one entry for one stream.
type Append struct {
	Stream
	Entry       wire.Entry
	Time        time.Time        // when it came
	Fingerprint wire.Fingerprint // of number Entry.To, which the caller has computed; 0: the store does, if it needs it
}

// Answer is what became of an appended entry: the stream's watermark after it.
type Answer struct {
	W        wire.Seq
	Rejected wire.Seq // not 0: this number, above W, is refused for good and nothing was applied (rule 10)
	Why      string   // of the refusal, at most wire.MaxReason bytes
}

// Import is a part of what a carry file holds of one stream.
type Import struct {
	Agent   wire.AgentID
	Stream  wire.StreamState // as the agent would have told it at the export; Boundaries without a limit
	Before  wire.Fingerprint // of the number before the first entry, or at Acked if there are none; 0: not known
	Entries []wire.Entry     // consecutive
	Time    time.Time        // when it came
}

// Imported is what became of it.
type Imported struct {
	Match      wire.Match // of the stream, afterwards
	Stored     uint64     // numbers stored
	Tombstoned uint64     // numbers dropped or declared
	Forked     bool       // a stream was made for them, because the lines have parted
	Rejected   wire.Seq   // not 0: this number is refused for good (rule 10); what comes before it was applied
	Why        string     // of the refusal
}

// Announcement says that every number of a stream below Next exists.
type Announcement struct {
	Stream
	Next wire.Seq
}

// Parting is how a session ended.
type Parting struct {
	Time    time.Time // when the agent was last heard
	Goodbye bool      // it said so
	Reason  string    // its reason, or what was seen of the link
}

// Known is what a store knows of an agent besides its messages.
type Known struct {
	Agent    wire.AgentID
	Software string
	Host     wire.Host
	Address  string
	Seen     time.Time // of its last hello, append or parting
	Parting  *Parting  // how its last session ended, nil if that is not known
	Backlog  uint64    // numbers announced and not settled
}

// Cursor is a position in a store, as text that only the store understands. ""
// is the beginning. Cursors stay good as long as what they point at is kept.
type Cursor string

// Stored is one entry as a store holds it.
type Stored struct {
	Cursor   Cursor // of the position behind this entry
	Agent    wire.AgentID
	Stream   Stream
	Session  uint64
	Received time.Time
	Entry    wire.Entry // From is the first number that counted
}

var (
	// ErrFenced is returned to a session that is not the agent's live one.
	ErrFenced = errors.New("session is fenced: the agent has a newer one")
	// ErrUnknown is returned for a stream that no resume has opened.
	ErrUnknown = errors.New("stream was not resumed")
	// ErrMoved is returned to a session for a stream of which an import has brought
	// more than the hello was told: the agent connects again, and loses nothing.
	ErrMoved = errors.New("the lane has moved on since the hello")
	// ErrGap is returned by Store.Import for entries that do not follow what the
	// store has.
	ErrGap = errors.New("numbers are missing")
	// ErrMemory is returned by Store.Import for a stream that has other messages than
	// the store under the same incarnation.
	ErrMemory = errors.New("the agent's memory went back")
	// ErrLimit is returned by Store.Hello, Store.Resume and Store.Import for more agents,
	// or more of one agent, than the store is to remember. Nothing was changed.
	ErrLimit = errors.New("the store is to remember no more")
	// ErrConflict is returned by Store.Resume for a stream that is not what the
	// store has.
	ErrConflict = errors.New("stream does not continue what the store has")
)
