package powercut

import (
	"fmt"
	"strings"

	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// Counts says what there was in histories.
type Counts struct {
	Histories, Lives, Cuts, Kills, Stops int
	Clock                                int // cuts and kills at no event, because none came
	At                                   [lossy.Events][3]int
	Opening                              int // lives that ended before the child had opened its folder
	Messages                             oracle.Tally
}

// add counts a life.
func (c *Counts) add(l *life, at lossy.Trap, sprung bool) {
	c.Lives++
	if l.now != nil {
		return // the last life
	}
	switch l.ending {
	case byItself:
		return
	case byCut:
		c.Cuts++
	case byKill:
		c.Kills++
	case byStop: // and a cut behind it
		c.Cuts++
		c.Stops++
	}
	if !sprung {
		c.Clock++
		return
	}
	c.At[at.Event][at.When]++
}

// Add adds another history's counts.
func (c *Counts) Add(o *Counts) {
	c.Histories += o.Histories
	c.Lives += o.Lives
	c.Cuts += o.Cuts
	c.Kills += o.Kills
	c.Stops += o.Stops
	c.Clock += o.Clock
	c.Opening += o.Opening
	for e := range c.At {
		for w := range c.At[e] {
			c.At[e][w] += o.At[e][w]
		}
	}
	c.Messages.Accepted += o.Messages.Accepted
	c.Messages.Uncertain += o.Messages.Uncertain
	c.Messages.Stored += o.Messages.Stored
	c.Messages.Survived += o.Messages.Survived
	c.Messages.Missing += o.Messages.Missing
	c.Messages.Doubled += o.Messages.Doubled
	c.Messages.Misplaced += o.Messages.Misplaced
	c.Messages.Foreign += o.Messages.Foreign
}

// String returns all of it in a few lines.
func (c *Counts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d power cuts in %d histories (%d after an orderly stop), %d kills, %d lives; %d ended before their folder was open, %d by the clock\n",
		c.Cuts, c.Histories, c.Stops, c.Kills, c.Lives, c.Opening, c.Clock)
	fmt.Fprintf(&b, "lives ended at:")
	for e := range c.At {
		sum := c.At[e][0] + c.At[e][1] + c.At[e][2]
		if sum > 0 {
			fmt.Fprintf(&b, " %s %d (%d before, %d in the answer, %d after);", lossy.Event(e), sum, c.At[e][0], c.At[e][1], c.At[e][2])
		}
	}
	fmt.Fprintf(&b, "\nmessages: %s", c.Messages)
	return b.String()
}
