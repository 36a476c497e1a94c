package transport

import (
	"errors"

	"github.com/fieldpost/fieldpost/wire"
)

var errStale = errors.New("it has gone on since the hello, and the store knows of such numbers; the next hello tells whether they are the same")

// stale reports whether an answer may speak of numbers that a lane has written
// since the hello. Beyond is one of the two signs that a process's memory went
// back (rule 2): the store has numbers of the lane's live incarnation that the
// hello did not know. But a hello may have lain on the line while the lane went on,
// and somebody copied its folder and sent the copy's numbers. A new hello tells
// them apart: it knows all that a copy made before it can hold. It may be asked
// for again and again, but not for ever: where memory went back, either the lane
// is quiet once between a hello and its answer, or it comes to the numbers that
// the store has, and their fingerprints differ.
func stale(said, now []wire.StreamState, matches []wire.Match) bool {
	for i := range said {
		if !matches[i].Beyond {
			continue
		}
		for j := range now {
			if now[j].Epoch == said[i].Epoch && now[j].Next > said[i].Next {
				return true
			}
		}
	}
	return false
}
