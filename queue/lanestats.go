package queue

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// Stats returns the lane's figures: epoch and numbers are those of the stream
// that takes puts, the rest is of all streams together.
func (l *Lane) Stats() Stats {
	var all []Stats
	for _, s := range l.list() {
		all = append(all, s.q.Stats())
	}
	st := together(all)
	st.Full = l.live().q.full()
	return st
}

// ReadStats returns the figures of a lane that no process has open, as
// [Lane.Stats] does. It changes nothing in the folder. Errors: [ErrInUse];
// [ErrNotAQueue] for a folder without segments; one about damage, which the next
// opening sorts out.
func ReadStats(dir string) (Stats, error) {
	first, err := readStats(dir)
	var numbers []uint64
	if err == nil {
		numbers, err = readStreams(dir)
	}
	all := []Stats{first}
	for _, n := range numbers {
		if err != nil {
			break
		}
		var st Stats
		st, err = readStats(streamDir(dir, n))
		if errors.Is(err, ErrNotAQueue) { // its first opening was cut short: it holds nothing
			st, err = Stats{Next: 1, Oldest: 1}, nil
		}
		all = append(all, st)
	}
	if err != nil {
		return Stats{}, fmt.Errorf("queue %s: %w", dir, err)
	}
	return together(all), nil
}

// together joins the figures of a lane's streams.
func together(all []Stats) Stats {
	first := all[0]
	slices.SortStableFunc(all, func(a, b Stats) int { return cmp.Compare(a.turn, b.turn) })
	st := all[len(all)-1]
	st.Dropped = maps.Clone(st.Dropped)
	if st.Dropped == nil {
		st.Dropped = map[wire.Reason]uint64{}
	}
	st.Streams = 1
	st.Agent, st.Lane = first.Agent, first.Lane
	older := all[:len(all)-1]
	for i := range older {
		o := &older[len(older)-1-i] // the first one's trouble is what counts
		st.count(o)
		st.LettersKept += o.LettersKept
		st.Backlog += o.Backlog
		st.BacklogBytes += o.BacklogBytes
		if !o.OldestTime.IsZero() && (st.OldestTime.IsZero() || o.OldestTime.Before(st.OldestTime)) {
			st.OldestTime = o.OldestTime
		}
		st.Segments += o.Segments
		st.DiskBytes += o.DiskBytes
		st.Quarantined += o.Quarantined
		st.Commits += o.Commits
		st.AckedCount += o.AckedCount
		st.Syncs.Add(&o.Syncs)
		st.Stopped = st.Stopped || o.Stopped
		if st.Failing == nil {
			st.Failing = o.Failing
		}
		if o.Backlog > 0 {
			st.Streams++
		}
		if st.Store.IsZero() {
			st.Store = o.Store
		}
	}
	return st
}

// count adds what o has counted since its folder was made.
func (st *Stats) count(o *Stats) {
	st.Accepted += o.Accepted
	for reason, n := range o.Dropped {
		st.Dropped[reason] += n
	}
	st.DeadLetters += o.DeadLetters
	st.LettersLost += o.LettersLost
	st.Forks += o.Forks
	st.RolledBack += o.RolledBack
	st.Relabelled += o.Relabelled
}
