package transport

import "time"

// turns decides which lane sends the next frame.
//
//   - The lanes of the highest priority that have something to send go first, and
//     take turns so that each gets as many bytes as its equals.
//   - A lower lane keeps its share: for what a higher one sends while it has
//     something to send itself, it is owed a part, and sends that first.
//
// It belongs to the pump.
type turns struct {
	lanes []*lane // highest priority first
}

// rank is the lanes of one priority.
type rank struct {
	priority int   // twice the configured one, and one more for lanes that are no backlog
	served   int64 // what the last lane of it that was served had had before
}

// add puts ln in its place: behind the lanes of the same or a higher priority.
func (t *turns) add(ln *lane, policy LanePolicy) { t.put(ln, policy, 2*policy.Priority+1) }

// addBehind puts a backlog behind all lanes of its priority: it has its share of
// what they leave.
func (t *turns) addBehind(ln *lane, policy LanePolicy) { t.put(ln, policy, 2*policy.Priority) }

func (t *turns) put(ln *lane, policy LanePolicy, priority int) {
	i := 0
	for i < len(t.lanes) && t.lanes[i].rank.priority >= priority {
		i++
	}
	if ln.share = policy.Share; ln.share == 0 {
		ln.share = DefaultShare
	}
	if i > 0 && t.lanes[i-1].rank.priority == priority {
		ln.rank = t.lanes[i-1].rank
	} else {
		ln.rank = &rank{priority: priority}
	}
	t.lanes = append(t.lanes[:i], append([]*lane{ln}, t.lanes[i:]...)...)
}

// ranked reports whether the lanes have different priorities.
func (t *turns) ranked() bool {
	return len(t.lanes) > 0 && t.lanes[0].rank != t.lanes[len(t.lanes)-1].rank
}

// next returns the lane whose turn it is, nil if none has anything to send.
// Urgent: it is of the highest rank of all, or owed its share. failed is told of
// sources that have failed.
func (t *turns) next(now time.Time, failed func(*lane, error)) (ln *lane, urgent bool) {
	var owed *lane
	for _, l := range t.lanes {
		ready, err := l.ready(now)
		if err != nil {
			failed(l, err)
		}
		if ready && !l.waiting { // it has asked for nothing meanwhile, and is owed nothing for that
			l.served, l.owed = max(l.served, l.rank.served), min(l.owed, 0)
		}
		if l.waiting = ready; !ready {
			continue
		}
		switch {
		case ln == nil, ln.rank == l.rank && l.served < ln.served:
			ln = l
		case ln.rank != l.rank && l.owed > 0 && (owed == nil || owed.rank == l.rank && l.owed > owed.owed):
			owed = l
		}
	}
	if owed != nil {
		return owed, true
	}
	return ln, ln != nil && ln.rank == t.lanes[0].rank
}

// sent notes that ln has sent n bytes.
func (t *turns) sent(ln *lane, n int) {
	ln.rank.served = ln.served
	ln.served += int64(n)
	if ln.owed > 0 { // or else it sends because no higher one has anything to send
		ln.owed -= int64(n) * 100
	}
	for _, l := range t.lanes {
		if l.waiting && l.rank.priority < ln.rank.priority {
			l.owed = min(l.owed+int64(n)*100*int64(l.share)/int64(100-l.share), mostOwed)
		}
	}
}

// mostOwed bounds what a lane can be owed, in hundredths of a byte: more would
// only hold the others up later.
const mostOwed = 100 * 64 << 10
