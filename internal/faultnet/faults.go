package faultnet

import (
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// Direction is a way through a connection.
type Direction int

// The directions. Up is from the side that dialled, an agent, to the side that
// listens, a collector.
const (
	Up Direction = iota
	Down
)

// String returns "up" or "down".
func (d Direction) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}

func (d Direction) other() Direction { return 1 - d }

// errReset is what both ends of a connection that was cut get.
var errReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}

// Faults is the switchboard of a Line or a Proxy. What is switched on holds for
// the connections that are open and for later ones, until Heal. All methods may
// be called concurrently.
type Faults struct {
	mu        sync.Mutex
	rand      *rand.Rand
	links     map[*link]struct{}
	refuse    bool
	fragment  bool
	delay     time.Duration
	rate      [2]int // bytes a second; 0: as fast as they are written
	buffer    int    // bytes of a direction that a connection holds
	stalled   [2]bool
	swallowed [2]bool
	cutAfter  [2]int64 // bytes still to arrive before the cut; -1: none is due
	carried   [2]int64 // bytes that have arrived
	lost      [2]int64 // bytes that were written and never will
}

func newFaults(seed uint64) *Faults {
	return &Faults{
		rand:     rand.New(rand.NewPCG(seed, 0)),
		links:    map[*link]struct{}{},
		buffer:   window,
		cutAfter: [2]int64{-1, -1},
	}
}

// Cut resets every open connection. Bytes under way are lost.
func (f *Faults) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.links {
		l.reset(errReset)
	}
}

// CutAfter resets the connection that carries the n-th byte of a direction from
// now on, once that byte has arrived. n below 1 counts as 1.
func (f *Faults) CutAfter(d Direction, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutAfter[d] = max(1, n)
}

// Stall holds the bytes of a direction back. They wait, and when as many wait as
// a connection holds the writer waits too: a peer that is stopped.
func (f *Faults) Stall(d Direction) { f.set(func() { f.stalled[d] = true }) }

// Resume ends Stall: what waited arrives.
func (f *Faults) Resume(d Direction) { f.set(func() { f.stalled[d] = false }) }

// Swallow lets the bytes of a direction, and its end, vanish without an error: a
// one-way link, or lost acks. In both directions it is a half-open link.
func (f *Faults) Swallow(d Direction) { f.set(func() { f.swallowed[d] = true }) }

// Refuse lets every new connection fail at once.
func (f *Faults) Refuse(on bool) { f.set(func() { f.refuse = on }) }

// Delay lets every byte written from now on arrive that much later.
func (f *Faults) Delay(d time.Duration) { f.set(func() { f.delay = d }) }

// Rate lets at most n bytes a second of a direction arrive on each connection, of
// those that are written from now on; 0: as many as are written. The others wait,
// as in a router before a slow line, and when as many wait as a connection holds
// the writer waits too.
func (f *Faults) Rate(d Direction, n int) { f.set(func() { f.rate[d] = n }) }

// Buffer sets how many bytes of a direction a connection holds, 64 KiB unless it
// is called. Heal does not change it: it is no fault.
func (f *Faults) Buffer(n int) { f.set(func() { f.buffer = n }) }

// Fragment hands bytes over in pieces of random size, mostly small ones. Heal
// does not end it: it is no fault.
func (f *Faults) Fragment(on bool) { f.set(func() { f.fragment = on }) }

// Heal ends every fault. Connections that have lost bytes are reset; the others
// go on, and what was held back arrives.
func (f *Faults) Heal() {
	f.set(func() {
		f.refuse, f.delay, f.rate = false, 0, [2]int{}
		f.stalled, f.swallowed = [2]bool{}, [2]bool{}
		f.cutAfter = [2]int64{-1, -1}
		for l := range f.links {
			if l.pipes[Up].lossy || l.pipes[Down].lossy {
				l.reset(errReset)
			}
		}
	})
}

// Open returns how many connections are open.
func (f *Faults) Open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.links)
}

// Carried returns how many bytes of a direction have arrived, over all
// connections.
func (f *Faults) Carried(d Direction) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.carried[d]
}

// Lost returns how many bytes of a direction were taken from their writer and
// never arrive, over all connections: swallowed, or under way when a connection
// was cut.
func (f *Faults) Lost(d Direction) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost[d]
}

// set changes the board and wakes everybody who waits for something on it.
func (f *Faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	for l := range f.links {
		l.wake.Broadcast()
	}
}

// pick returns how many of n waiting bytes one read gets.
func (f *Faults) pick(n int) int {
	if !f.fragment || n < 2 {
		return n
	}
	return 1 + f.rand.IntN(min(n, 1<<(1+f.rand.IntN(12))))
}
