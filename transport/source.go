package transport

import (
	"context"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Timekeeper is a source that wants to know the collector's time, for the age of
// its messages (rule 14). It is told after it has taken a welcome.
type Timekeeper interface {
	Confirm(ctx context.Context, collector time.Time) error
}

// LiveFirst is a source whose last stream may go ahead of the others: they get
// what it leaves, and at least their share.
type LiveFirst interface {
	// Ahead returns the epoch of the stream that goes ahead, false if they follow one
	// another. It is asked after a welcome is taken, and holds for the link.
	Ahead() (wire.Epoch, bool)
}

// Source is one lane as the transport sees it: what is synced, in order, and
// the few durable steps that a link asks of it. A queue is one.
//
// Every method shows and changes synced state only (rule 6). Methods may be
// called concurrently with the lane's own appends, but the transport calls them
// from one goroutine at a time, except Announce.
type Source interface {
	// Lane returns the lane's name; it does not change.
	Lane() wire.Lane

	// Store returns the store that the lane last obeyed, zero before its first
	// welcome.
	Store() wire.StoreID

	// Streams returns the lane's streams for a hello, in the order in which they
	// follow one another, at least one.
	// The caller owns the result.
	Streams() []wire.StreamState

	// Welcome takes a collector's answer to said, which Streams returned before
	// the hello; matches[i] answers said[i]. It relabels, forks, adopts an epoch or
	// keeps it (rules 1 and 2), and makes that and the obeyed store durable; only
	// then it applies acks up to the common points. It returns one resume per
	// stream, in order; the send position of stream i is result[i].Base + 1. Behind
	// them there may be resumes of streams that it has begun just now.
	// Stream numbers in the result are zero, they are the caller's to set. On an
	// error nothing may be sent.
	Welcome(ctx context.Context, store wire.StoreID, said []wire.StreamState, matches []wire.Match) ([]wire.Resume, error)

	// Next returns what is to be sent at number n of a stream: a run of numbers
	// that begins at n, as data, a tombstone or a declaration (stored-in,
	// lost-at-store). All its numbers lie in one incarnation. The batch of the
	// entry may be shared and must not be changed; it stays good until the caller
	// drops it. False means that nothing synced is there yet, that the number waits
	// for another stream of the lane, or that the lane is stopped. An error is a
	// disk that cannot be read now: the transport asks again after a while, and
	// other lanes go on.
	Next(epoch wire.Epoch, n wire.Seq) (wire.Entry, bool, error)

	// Ack notes that the store has all numbers of a stream up to w. It returns at
	// once; the ack becomes durable with a later commit, and only then are numbers
	// deleted. A w beyond what the stream has is cut.
	Ack(epoch wire.Epoch, w wire.Seq)

	// Reject notes that the store refuses number n for good: dead letter and
	// tombstone in one transaction, durable on return (rule 10). A number that is
	// not data any more is left as it is. It returns true if too many refusals in
	// a row have stopped the lane: Next gives nothing until an operator starts it.
	Reject(ctx context.Context, epoch wire.Epoch, n wire.Seq, why string) (stopped bool, err error)

	// Announce returns how far a stream goes, for a ping; false if there is no such
	// stream any more. The announcement's stream number is the caller's to set.
	Announce(epoch wire.Epoch) (wire.Announcement, bool)
}
