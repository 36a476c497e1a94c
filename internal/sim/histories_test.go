package sim

import (
	"hash/fnv"
	"io"
	"maps"
	"regexp"
	"slices"
)

// enoughForAll is how many schedules must have had all that is required.
const enoughForAll = 2000

// required returns what must have happened among many schedules, counted by what
// the product said and did, not by what a schedule meant to do.
func required() []string {
	list := []string{
		"lost ack",
		"stalled peer noticed",
		"half-open link noticed",
		"fork",
		"two clones: duplicate identity",
		"store behind: what it lost is sent again",
		"store behind: what is lost is declared",
		"overflow: drop-oldest",
		"overflow: drop-newest",
		"live first: new messages go ahead in a new stream",
		"live first: new messages go ahead in a stream that was drained",
		"live first: a store is behind one of several streams",
		"live first: a message is stored ahead of an older one",
		"live first: a backlog makes room",
		"agent dies while a stream is begun",
		"retention: an audit knows of what is removed",
		"retention: segments are removed",
		"tombstone: expired",
		"tombstone: rejected",
		"tombstone: purged",
		"refused: reject",
		"blocked, then accepted",
		"a tombstone came too late: the message is stored",
		"another store: told what the old one has",
		"different store: nothing is sent",
		"agent: a failing disk refuses",
		"agent: an answer is uncertain",
		"agent: accepts again by itself",
		"agent: a failing disk keeps a lane from opening",
		"carry: imported",
		"carry: a stick overlaps what is stored",
		"carry: a stick is imported again",
		"carry: a receipt acks",
		"carry: a folder is put back, and what it held is on a stick",
		"carry: a session learns that a stick has brought more than it knows",
		"carry: a receipt says nothing new",
		"carry: lines have parted, and the stick's goes on beside",
		"collector: a failing disk fails a transaction",
		"collector: commits again by itself",
		"collector: a failing disk keeps it from opening",
	}
	for side := range turnover {
		if !*power {
			break
		}
		list = append(list, side+": the power is cut, and what was not synced is lost")
	}
	for side, phases := range turnover {
		for _, phase := range phases {
			list = append(list, side+" dies ahead of: "+phase)
		}
	}
	slices.Sort(list)
	return list
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// digest returns a checksum of the log of events.
func (w *world) digest() uint64 {
	h := fnv.New64a()
	for _, line := range w.events {
		io.WriteString(h, port.ReplaceAllString(line, ""))
	}
	return h.Sum64()
}

// port is what differs from run to run although nothing depends on it.
var port = regexp.MustCompile(`pid [0-9]+`)
