package transport

import (
	"math"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// flow keeps what is on its way to the collector small, so that an urgent frame
// does not wait behind megabytes in this machine's kernel, in a router before a
// slow line or in the collector's kernel: none of them can be asked how much it
// holds, and none lets a frame overtake another.
//
// Pings between the data tell: a pong says that all before its ping has been
// read. As much may be on its way as arrives within [flowTarget]; that keeps the
// line busy, and a frame that is put out now arrives about that much later.
//
// It is for lanes of different priorities. Where all are equal nothing is to
// overtake, and nothing is held back. Guarded by link.mu.
type flow struct {
	on     bool
	most   int64  // bytes that may be on their way
	sent   int64  // bytes put out on this link
	read   int64  // of which the collector is known to have read
	marks  []mark // pings without an answer, oldest first
	marked int64  // sent at the last mark
	nonce  uint64
	base   time.Duration // the least time that a mark took
}

// mark is a ping between data.
type mark struct {
	nonce uint64
	at    time.Time
	upto  int64 // sent behind it
	ahead int64 // on their way with it
}

const (
	flowTarget = 800 * time.Millisecond // or half as much again as the line takes when it is empty,
	flowSlow   = 3 * time.Second        // but no more than this
	flowFirst  = 32 << 10               // bytes that may be on their way before anything is known
	flowLeast  = 4 << 10                // and at least
	markNonce  = 1 << 63                // set in the nonces of marks, unlike the pacer's
)

func newFlow(on bool) flow { return flow{on: on, most: flowFirst, base: math.MaxInt64} }

// room reports whether a frame may be put out. What is urgent has half as much
// again, so that it never finds the way full of what is not.
func (f *flow) room(urgent bool) bool {
	most := f.most
	if urgent {
		most += max(f.most/2, flowFirst)
	}
	return !f.on || f.sent-f.read < most
}

// put notes that dst ends with n bytes of frames that are put out, and appends a
// mark behind them if one is due.
func (f *flow) put(dst []byte, n int, now time.Time) []byte {
	f.sent += int64(n)
	if !f.on || f.sent-f.marked < f.most/8 {
		return dst
	}
	return f.mark(dst, now)
}

// ask appends a mark if there is none whose answer could make room.
func (f *flow) ask(dst []byte, now time.Time) []byte {
	if len(f.marks) > 0 {
		return dst
	}
	return f.mark(dst, now)
}

func (f *flow) mark(dst []byte, now time.Time) []byte {
	before := len(dst)
	f.nonce++
	dst = wire.AppendPing(dst, markNonce|f.nonce, nil)
	f.sent += int64(len(dst) - before)
	f.marked = f.sent
	f.marks = append(f.marks, mark{markNonce | f.nonce, now, f.sent, f.sent - f.read})
	return dst
}

// pong takes an answer to a mark. It reports whether there was such a mark.
func (f *flow) pong(nonce uint64, now time.Time) bool {
	for i, m := range f.marks {
		if m.nonce != nonce {
			continue
		}
		f.marks = f.marks[i+1:]
		f.read = m.upto
		took := max(now.Sub(m.at), time.Microsecond)
		f.base = min(f.base, took)
		// What was ahead has taken so long to arrive, so this much arrives in time. A
		// way that was not full tells less than it could carry: then more, by steps.
		target := min(max(flowTarget, f.base+f.base/2), flowSlow)
		most := int64(float64(m.ahead) * min(2, float64(target)/float64(took)))
		if took > target || most > f.most {
			f.most = max(most, flowLeast)
		}
		return true
	}
	return false
}
