package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/boot"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

// The judge of drops. It reads entries, not counters: each stream's entries must
// be a partition of its numbers; and each message that a lane gave up must have a
// tombstone, each tombstoned number its message. Send does not tell numbers, so
// that which message had which number is found as a matching: a number is of one
// of its process's incarnations, one for each stream of the lane; it lies between
// those of the stored messages of that incarnation which its producer sent before
// and after; its reason and time fit the message.

// number is one number for all time.
type number struct {
	agent, lane, incarnation string
	seq                      uint64
}

// dropped is a number with a tombstone.
type dropped struct {
	number
	epoch  wire.Epoch
	reason wire.Reason
	at     time.Time // of the drop
}

// contents is what a store holds.
type contents struct {
	held []oracle.Stored
	told []oracle.Declaration // in the place of messages that it, or another store, had acked
	gone []dropped            // in the place of messages that an agent gave up
	ends map[string]wire.Seq  // W, by stream: as streamOf names them
	drop map[string]counts    // numbers of gone, by agent and lane
}

type counts map[wire.Reason]uint64

func streamOf(agent, lane string, epoch wire.Epoch) string {
	return fmt.Sprintf("%s %s %s", agent, lane, epoch)
}

// extend adds an entry's numbers to its stream, which they must continue.
func (c *contents) extend(stream string, e *wire.Entry) error {
	w, known := c.ends[stream]
	if known && e.From != w+1 {
		return fmt.Errorf("stream %s: after number %d comes an entry for %d to %d", stream, w, e.From, e.To)
	}
	c.ends[stream] = e.To
	return nil
}

// giveUp adds a tombstone.
func (c *contents) giveUp(agent, lane string, epoch wire.Epoch, e *wire.Entry) {
	key := agent + " " + lane
	if c.drop[key] == nil {
		c.drop[key] = counts{}
	}
	for n := e.From; n <= e.To; n++ {
		c.gone = append(c.gone, dropped{number{agent, lane, e.Incarnation.String(), uint64(n)}, epoch, e.Reason, e.Time})
		c.drop[key][e.Reason]++
	}
}

// mark is how a message's body names it, in its lane.
func mark(agent, lane string, body []byte) string {
	parts := strings.SplitN(string(body[:min(len(body), 64)]), " ", 3)
	return fmt.Sprint(agent, " ", lane, " ", parts[0], " ", parts[min(1, len(parts)-1)])
}

// match finds for each dropped number its message, and says which messages the
// tombstones cover.
func (w *world) match(c *contents) (covered map[*attempt]bool, err error) {
	numberOf, declared, err := w.places(c)
	if err != nil {
		return nil, err
	}
	w.sawLiveFirst(c, numberOf)
	points, err := w.points(c)
	if err != nil {
		return nil, err
	}
	m := matching{points: points, of: make([]*try, len(points))}
	var tries []*try
	for _, list := range w.lines() {
		stored := map[string][]spot{} // by incarnation
		for i, t := range list {
			if n, ok := numberOf[t]; ok {
				stored[n.incarnation] = append(stored[n.incarnation], spot{i, n.seq})
			}
		}
		for i, t := range list {
			if _, ok := numberOf[t]; ok || t.outcome == refused {
				continue
			}
			// A store that was set back twice may have had it and, the second time, its tombstone.
			o := &try{attempt: t, at: i, stored: stored, may: t.outcome == unknown}
			if n, ok := declared[t]; ok {
				o.exact, o.may = &n, true
			}
			tries = append(tries, o)
		}
	}
	slack := time.Duration(0)
	if w.real > 0 { // what passed meanwhile outside of the bubble; see package boot
		slack = boot.Since() - w.real
	}
	for _, o := range tries {
		o.fits = func(p *dropped) bool { return w.fits(o, p, slack) }
	}
	for _, o := range tries {
		if !o.may && !m.assign(o, map[int]bool{}) {
			return nil, fmt.Errorf("message %s of agent %s lane %s, %s at %s, is neither stored nor has it a tombstone that fits: %s",
				mark(o.m.Agent, o.m.Lane, o.m.Body), o.m.Agent, o.m.Lane, o.outcome, o.begin.Sub(w.begin), m.near(o))
		}
	}
	for _, o := range tries {
		if o.may {
			m.assign(o, map[int]bool{})
		}
	}
	covered = map[*attempt]bool{}
	for i, o := range m.of {
		if o == nil {
			return nil, fmt.Errorf("number %+v has a tombstone, and no message that it can be of", m.points[i])
		}
		covered[o.attempt] = true
		if o.outcome == accepted {
			w.saw("dropped after it was accepted: " + m.points[i].reason.String())
		}
		if c := w.policy.lanes[o.m.Lane]; m.points[i].reason == wire.ReasonOverflow {
			w.saw("overflow: " + c.Overflow.String())
		} else {
			w.saw("tombstone: " + m.points[i].reason.String())
		}
	}
	return covered, nil
}

// places returns the numbers of stored messages, and which messages a declaration
// names. What is stored must have no tombstone.
func (w *world) places(c *contents) (numberOf map[*attempt]number, declared map[*attempt]number, err error) {
	byMark := map[string]*attempt{}
	for _, t := range w.sent {
		byMark[mark(t.m.Agent, t.m.Lane, t.m.Body)] = t
	}
	gone := map[number]bool{}
	for i := range c.gone {
		if gone[c.gone[i].number] {
			return nil, nil, fmt.Errorf("number %+v has two tombstones", c.gone[i])
		}
		gone[c.gone[i].number] = true
	}
	numberOf, declared = map[*attempt]number{}, map[*attempt]number{}
	for i := range c.held {
		s := &c.held[i]
		n := number{s.Agent, s.Lane, s.Incarnation, s.Seq}
		if gone[n] {
			return nil, nil, fmt.Errorf("number %+v is stored, and has a tombstone", n)
		}
		if t := byMark[mark(s.Agent, s.Lane, s.Body)]; t != nil { // else the oracle says so
			numberOf[t] = n
			w.owner[[2]string{s.Lane, s.Incarnation}] = t.life
		}
	}
	for _, d := range c.told {
		for _, e := range w.center.earlier {
			if e.store.String() != d.Store {
				continue
			}
			for i := range e.held {
				if s := &e.held[i]; s.Agent == d.Agent && s.Lane == d.Lane && s.Incarnation == d.Incarnation && d.From <= s.Seq && s.Seq <= d.To {
					declared[byMark[mark(s.Agent, s.Lane, s.Body)]] = number{s.Agent, s.Lane, s.Incarnation, s.Seq}
				}
			}
		}
	}
	return numberOf, declared, nil
}

// points returns all numbers with a tombstone: in the store, or in an earlier one
// that a declaration names. Those leave the declaration, which names stored ones
// otherwise.
func (w *world) points(c *contents) ([]dropped, error) {
	points := c.gone
	var told []oracle.Declaration
	for _, d := range c.told {
		before := map[uint64]dropped{}
		for _, e := range w.center.earlier {
			if e.store.String() != d.Store {
				continue
			}
			for _, g := range e.gone {
				if g.agent == d.Agent && g.lane == d.Lane && g.incarnation == d.Incarnation {
					before[g.seq] = g
				}
			}
		}
		for n := d.From; n <= d.To; n++ {
			if g, ok := before[n]; ok {
				points = append(points, g)
				continue
			}
			one := d
			one.From, one.To = n, n
			told = append(told, one)
		}
	}
	c.told = told
	for _, p := range points {
		if !w.policy.allows(p.lane, p.reason) {
			return nil, fmt.Errorf("number %+v was given up, and its lane may not: %+v", p, w.policy.lanes[p.lane])
		}
	}
	return points, nil
}

// lines returns what each producer sent into each lane, in its order.
func (w *world) lines() (lines [][]*attempt) {
	at := map[[3]string]int{}
	for _, t := range w.sent {
		k := [3]string{t.m.Agent, t.m.Lane, t.m.Producer}
		if _, ok := at[k]; !ok {
			at[k] = len(lines)
			lines = append(lines, nil)
		}
		lines[at[k]] = append(lines[at[k]], t)
	}
	return lines
}

// fits reports whether a tombstone may be that of a message. slack is how much
// faster than the bubble's clock the machine's own may have been across restarts.
func (w *world) fits(o *try, p *dropped, slack time.Duration) bool {
	if o.m.Agent != p.agent || o.m.Lane != p.lane || !o.between(&p.number) || p.at.Before(o.begin) {
		return false
	}
	if l := w.owner[[2]string{p.lane, p.incarnation}]; l != nil && l != o.life {
		return false
	}
	c := w.policy.lanes[p.lane]
	switch p.reason {
	case wire.ReasonExpired:
		if o.outcome == toldDropped {
			return false
		}
		least := c.MaxAge
		if !o.life.end.IsZero() && !p.at.Before(o.life.end) {
			least -= slack
		}
		return p.at.Sub(o.begin) >= least
	case wire.ReasonOverflow:
		switch {
		case c.Overflow == agent.DropNewest && o.outcome == accepted:
			return c.SyncInterval > 0 // Send had said yes before anybody knew
		case c.Overflow == agent.DropOldest && o.outcome == toldDropped:
			return false
		}
		return true
	case wire.ReasonRejected:
		return o.poison && o.outcome != toldDropped
	case wire.ReasonPurged:
		return o.outcome != toldDropped && w.purgedAt(o, p.at)
	}
	return false
}

// try is a message that is not stored.
type try struct {
	*attempt
	at     int               // its place in its line
	stored map[string][]spot // what is stored of its line, by incarnation, ascending
	exact  *number           // that it had in an earlier store; nil: not known
	may    bool              // it need not have a number, or is told otherwise
	fits   func(p *dropped) bool
}

// spot is a stored message: its place in its line, and its number.
type spot struct {
	at  int
	seq uint64
}

// between reports whether n is where the message can have been: above the numbers
// of its incarnation that its producer's earlier messages have, below those of the
// later ones.
func (o *try) between(n *number) bool {
	if o.exact != nil {
		return *n == *o.exact
	}
	list := o.stored[n.incarnation]
	i, _ := slices.BinarySearchFunc(list, o.at, func(s spot, at int) int { return cmp.Compare(s.at, at) })
	return (i == 0 || list[i-1].seq < n.seq) && (i == len(list) || n.seq < list[i].seq)
}

// matching gives each message a dropped number of its own.
type matching struct {
	points []dropped
	of     []*try // by point
}

// assign finds a number for o; others give way if they can.
func (m *matching) assign(o *try, visited map[int]bool) bool {
	for i := range m.points {
		if m.of[i] == nil && !visited[i] && o.fits(&m.points[i]) {
			m.of[i] = o
			return true
		}
	}
	for i := range m.points {
		if visited[i] || !o.fits(&m.points[i]) {
			continue
		}
		visited[i] = true
		if m.assign(m.of[i], visited) {
			m.of[i] = o
			return true
		}
	}
	return false
}

// near says which numbers o could have had but for their reason and time.
func (m *matching) near(o *try) string {
	var b strings.Builder
	for i, p := range m.points {
		if p.agent == o.m.Agent && p.lane == o.m.Lane && o.between(&p.number) && b.Len() < 2000 {
			fmt.Fprintf(&b, "\n  %d: %s, %s after it was sent, matched: %v", p.seq, p.reason, p.at.Sub(o.begin), m.of[i] != nil)
		}
	}
	return b.String()
}

// agree compares what the agents say of themselves with what the store holds.
func (w *world) agree(c *contents) error {
	for _, m := range w.machines {
		for _, s := range m.last {
			at := streamOf(m.id, s.Lane, s.Epoch)
			got, known := c.ends[at]
			beyond := got > s.Next-1 && !w.copied // a clone may have gone on in the same stream
			if known && (got < s.Next-1 || beyond) || s.Backlog > 0 {
				return fmt.Errorf("%s: everything is delivered, %s has W %d: %+v", m.name, at, got, s)
			}
			if w.copied || len(w.center.earlier) > 0 {
				continue // a folder does not know what its copies did, nor this store what was told to others
			}
			// What was on its way when it was given up and is stored is not counted (rule 8).
			want := c.drop[m.id+" "+s.Lane]
			for _, reason := range []wire.Reason{wire.ReasonExpired, wire.ReasonOverflow, wire.ReasonRejected, wire.ReasonPurged} {
				if len(w.sticks) > 0 && reason != wire.ReasonRejected {
					continue // nobody knows whether a stick was there before the tombstone
				}
				if s.Dropped[reason] != want[reason] {
					return fmt.Errorf("%s: lane %s says that it has dropped %v, the store says %v", m.name, s.Lane, s.Dropped, want)
				}
			}
			if key := m.id + " " + s.Lane; want[wire.ReasonPurged] > w.purged[key] && !w.uncertain[key] {
				return fmt.Errorf("%s: lane %s: purges say that they have dropped %d, the store has %d purged", m.name, s.Lane, w.purged[key], want[wire.ReasonPurged])
			}
			if s.DeadLetters != want[wire.ReasonRejected] {
				return fmt.Errorf("%s: lane %s has %d dead letters, the store refused %d", m.name, s.Lane, s.DeadLetters, want[wire.ReasonRejected])
			}
		}
	}
	return nil
}
