package failedio

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/rigs/powercut/machine"
)

// childEnv has a child's birth, as JSON.
const childEnv = "FIELDPOST_FAILEDIO_CHILD"

// birth is what a child knows from the beginning.
type birth struct {
	Side   Side
	Site   string // the rig's folder, in which everything is mounted
	Own    string // the part of it that the child may see
	BootID string // a file that stands in for the kernel's boot id
	Dir    string // of the agent, or of the journal
}

// order is what a child is to do next. It reads them from stdin, one a line, and
// gives one answer to each, behind what it says of messages.
type order struct {
	Do      string // of an agent: open, link, send, probe, flush, status, close; of a collector: open, close, judge
	Address string // link: of the collector, "" cuts the link
	Send    []sends
	Phase   Phase         // of probes
	Limit   time.Duration // of a probe or a flush
	Path    string        // judge: the export's file
}

// sends is what one producer is to send.
type sends struct {
	First message
	Count int
	Batch int           // messages in one call
	Limit time.Duration // of a call
}

// answer ends an order. Error is "" if it was carried out.
type answer struct {
	Error   string
	Address string          // open of a collector
	Status  *agent.Status   // status
	Report  *journal.Report // judge
	Left    string          // close: goroutines that have stayed
}

// line is a line that a child says.
type line struct {
	Said   *saying `json:",omitempty"`
	Answer *answer `json:",omitempty"`
}

// child is a process that does what it is told.
type child interface {
	// do carries out an order. The error becomes the answer's.
	do(o *order, a *answer) error
}

// Child does what a rig's child has to do, if this process is one, and does not
// return then. A program that runs lives calls it first.
func Child() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var b birth
	err := json.Unmarshal([]byte(text), &b)
	if err == nil {
		err = machine.Settle(b.Site, b.Own, b.BootID)
	}
	if err == nil {
		err = b.live()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	os.Exit(0)
}

// live takes orders until there are none.
func (b *birth) live() error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var c child = &agentChild{dir: b.Dir, log: log}
	if b.Side == Collector {
		c = &collectorChild{dir: b.Dir, log: log}
	}
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); in.More(); {
		var o order
		if err := in.Decode(&o); err != nil {
			return err
		}
		var a answer
		if err := c.do(&o, &a); err != nil {
			a.Error = err.Error()
		}
		say(line{Answer: &a})
	}
	return nil
}

var errOrder = errors.New("this child cannot do that now")

var mouth sync.Mutex

// say tells the parent something.
func say(l line) {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	mouth.Lock()
	defer mouth.Unlock()
	os.Stdout.Write(append(b, '\n')) // a parent that is gone has killed this process
}

// left returns the product's goroutines that are still there, after a while in
// which they may end; "" is well.
func left() string {
	var stuck []string
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		stuck = stuck[:0]
		for _, stack := range strings.Split(string(buf), "\n\n")[1:] { // the first one is this
			for _, of := range []string{"/fieldpost/agent", "/fieldpost/queue", "/fieldpost/transport", "/fieldpost/collector", "/bbolt"} {
				if strings.Contains(stack, of) {
					stuck = append(stuck, stack)
					break
				}
			}
		}
		if len(stuck) == 0 || time.Now().After(end) {
			return strings.Join(stuck, "\n\n")
		}
	}
}
