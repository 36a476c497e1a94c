package collector

import (
	"slices"
	"sync"
)

// budget shares the memory for batches between all links, first come first
// served.
type budget struct {
	limit int64

	mu      sync.Mutex
	used    int64
	waiting []*claim
}

type claim struct {
	n       int64
	granted chan struct{} // closed under mu
}

// try reserves n bytes if they are within the limit and nobody waits.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 || b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

// wait reserves n bytes as soon as they are within the limit. It returns false
// if done is closed before; then nothing is reserved.
func (b *budget) wait(n int64, done <-chan struct{}) bool {
	if b.try(n) {
		return true
	}
	b.mu.Lock()
	c := &claim{n, make(chan struct{})}
	b.waiting = append(b.waiting, c)
	b.grant() // what was given since try
	b.mu.Unlock()
	select {
	case <-c.granted:
		return true
	case <-done:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, c); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	} else {
		b.used -= n
	}
	b.grant() // those behind c may fit now
	return false
}

// take reserves n bytes at once, beyond the limit if need be. It returns false,
// and reserves nothing, if that would be more than twice the limit.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > 2*b.limit {
		return false
	}
	b.used += n
	return true
}

// reserved returns how many bytes are reserved.
func (b *budget) reserved() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// give returns n reserved bytes.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.grant()
}

func (b *budget) grant() {
	for len(b.waiting) > 0 && b.used+b.waiting[0].n <= b.limit {
		b.used += b.waiting[0].n
		close(b.waiting[0].granted)
		b.waiting = slices.Delete(b.waiting, 0, 1)
	}
}
