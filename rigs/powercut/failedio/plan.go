package failedio

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// Side is one of the two processes, and its disk.
type Side int

// The sides.
const (
	Agent Side = iota
	Collector
	sides int = iota
)

// String returns the side's name.
func (s Side) String() string { return [...]string{"agent", "collector"}[s] }

// Phase is a part of a life's script in which operations are counted.
type Phase int

// The phases, in their order. Quiet is what lies between them.
const (
	Quiet        Phase = iota
	Opening            // of folders that do not exist
	Sending            // with a link, until all is stored
	Storing            // without a link
	Closing            // in order, with a backlog
	Reopening          // after that
	Draining           // of older segments, from disk
	StoringAgain       // without a link; then the power is cut on both sides
	Recovering         // an opening after the power cut
	DrainingLate       // with more messages coming
	ClosingLast
	phases int = iota
)

// String says the phase.
func (p Phase) String() string {
	return [...]string{"between", "opening", "sending", "storing", "closing", "reopening", "draining", "storing again", "recovering",
		"draining late", "closing last"}[p]
}

// place is what operations of a phase have in common.
type place struct {
	Side  Side
	Phase Phase
	Kind  lossy.Kind
	Class string // of file: its path without numbers
}

// Target names one operation of a life: the N-th at a place, from 1.
type Target struct {
	place
	N int
}

// String returns the target in words.
func (t Target) String() string {
	return fmt.Sprintf("%s, %s: %s %d of %s", t.Side, t.Phase, t.Kind, t.N, t.Class)
}

// Mode is how an operation fails.
type Mode struct {
	Errno   syscall.Errno
	Lasting bool          // with all later ones of its kind, until the fault is lifted
	For     time.Duration // that a lasting one lasts; 0: 0.3 s, in every eighth life 1.5 s
	All     bool          // of every kind: the disk is gone for a while
	Done    bool          // it is done, and answered with the error all the same
}

// String returns the mode in words.
func (m Mode) String() string {
	s := unix.ErrnoName(m.Errno)
	switch {
	case m.All:
		return s + " of everything for a while"
	case m.Lasting:
		return s + " for a while"
	case m.Done:
		return s + " once, done"
	}
	return s + " once"
}

// Plan is the fault of a life.
type Plan struct {
	Target
	Mode
}

// String returns the plan in words.
func (p Plan) String() string { return p.Target.String() + ": " + p.Mode.String() }

// together are the kinds that fail together while an error lasts: those that take
// room on a disk that is full, those that change something on one that has become
// read-only.
var together = map[syscall.Errno][]lossy.Kind{
	syscall.EDQUOT: {lossy.OpWrite, lossy.OpCreate, lossy.OpMkdir, lossy.OpResize},
	syscall.ENOSPC: {lossy.OpWrite, lossy.OpCreate, lossy.OpMkdir, lossy.OpResize},
	syscall.EROFS: {lossy.OpWrite, lossy.OpCreate, lossy.OpMkdir, lossy.OpResize, lossy.OpSync, lossy.OpSyncDir, lossy.OpRename,
		lossy.OpUnlink},
}

// modes returns how operations of a kind can fail.
func modes(k lossy.Kind) []Mode {
	list := []Mode{{Errno: syscall.EIO}, {Errno: syscall.EIO, Lasting: true}}
	switch k {
	case lossy.OpOpen:
		list = append(list, Mode{Errno: syscall.EMFILE}, Mode{Errno: syscall.EMFILE, Lasting: true})
	case lossy.OpWrite, lossy.OpCreate, lossy.OpMkdir, lossy.OpResize, lossy.OpSync:
		list = append(list, Mode{Errno: syscall.ENOSPC}, Mode{Errno: syscall.ENOSPC, Lasting: true}, Mode{Errno: syscall.EDQUOT, Lasting: true})
	case lossy.OpRename:
		list = append(list, Mode{Errno: syscall.ENOSPC})
	}
	switch k {
	case lossy.OpWrite, lossy.OpCreate, lossy.OpMkdir, lossy.OpResize, lossy.OpRename, lossy.OpUnlink:
		list = append(list, Mode{Errno: syscall.EIO, Done: true})
	}
	switch k {
	case lossy.OpRead, lossy.OpPageIn, lossy.OpWrite, lossy.OpSync:
		list = append(list, Mode{Errno: syscall.EIO, Lasting: true, All: true})
	}
	switch k {
	case lossy.OpWrite, lossy.OpSync:
		list = append(list, Mode{Errno: syscall.EROFS, Lasting: true})
	}
	return list
}

var (
	number = regexp.MustCompile(`[0-9]+`)
	lane   = regexp.MustCompile(`^lane-[a-z]+`)
)

// class returns what kind of file a path on a disk is.
func class(path string) string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/"), folder)
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return "the folder"
	}
	return number.ReplaceAllString(lane.ReplaceAllString(path, "lane"), "N")
}

// Counts has how many operations there were at each place of a life.
type Counts map[place]int

// Plans returns a plan for every operation and mode, in the order of the script.
// Of a place with more than most operations only so many are taken, spread evenly,
// the first and the last among them; 0: all are.
func (c Counts) Plans(most int) []Plan {
	var places []place
	for p := range c {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.Side, b.Side), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Class, b.Class))
	})
	var list []Plan
	for _, p := range places {
		n := c[p]
		take := n
		if most > 0 {
			take = min(n, most)
		}
		for i := range take {
			t := Target{p, 1 + i}
			if 1 < take && take < n {
				t.N = 1 + i*(n-1)/(take-1)
			}
			for _, m := range modes(p.Kind) {
				list = append(list, Plan{t, m})
			}
		}
	}
	return list
}
