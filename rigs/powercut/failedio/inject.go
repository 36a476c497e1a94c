package failedio

import (
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
)

// injector counts what a disk is asked for, and lets one operation fail. It is
// called by a disk.
type injector struct {
	side Side
	plan *Plan // nil: nothing fails

	mu     sync.Mutex
	phase  Phase
	counts Counts
	struck chan struct{} // closed when the fault has come
	last   lossy.Op      // that failed
	at     time.Time     // when
	lifted bool
	failed int // operations
}

func newInjector(s Side, p *Plan) *injector {
	if p != nil && p.Side != s {
		p = nil
	}
	return &injector{side: s, plan: p, counts: Counts{}, struck: make(chan struct{})}
}

// begin says which phase it is.
func (i *injector) begin(p Phase) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.phase = p
}

// lift ends a fault that lasts.
func (i *injector) lift() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lifted = i.lifted || i.hit()
}

// hit reports whether the fault has come; mu is held.
func (i *injector) hit() bool { return closed(i.struck) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ask is what the disk asks ahead of each operation.
func (i *injector) ask(op lossy.Op) lossy.Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.phase == Quiet && !i.hit() {
		return lossy.Fault{}
	}
	at := place{i.side, i.phase, op.Kind, class(op.Path)}
	again := i.hit() && op == i.last && op.Kind.Insists() && time.Since(i.at) < lossy.Insisting
	if !again {
		i.counts[at]++
	}
	switch {
	case i.plan == nil || i.lifted:
		return lossy.Fault{}
	case again:
	case !i.hit():
		if at != i.plan.place || i.counts[at] != i.plan.N {
			return lossy.Fault{}
		}
		i.last, i.at = op, time.Now()
		close(i.struck)
	case !i.plan.Lasting || !i.concerns(op.Kind):
		return lossy.Fault{}
	}
	i.failed++
	return lossy.Fault{Errno: i.plan.Errno, Done: i.plan.Done}
}

// concerns reports whether a fault that lasts makes operations of a kind fail.
func (i *injector) concerns(k lossy.Kind) bool {
	list := together[i.plan.Errno]
	return i.plan.All || k == i.plan.Kind || slices.Contains(list, i.plan.Kind) && slices.Contains(list, k)
}

// seen returns what was counted, and how many operations failed.
func (i *injector) seen() (Counts, int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts, i.failed
}
