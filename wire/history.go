package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Boundary says that an incarnation wrote the numbers from First on, up to the
// next boundary.
type Boundary struct {
	Incarnation Incarnation
	First       Seq
}

// MarshalText returns "incarnation:first".
func (b Boundary) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s:%d", b.Incarnation, b.First), nil
}

// UnmarshalText is the reverse of MarshalText.
func (b *Boundary) UnmarshalText(t []byte) error {
	id, first, ok := strings.Cut(string(t), ":")
	if !ok {
		return fmt.Errorf("boundary %.60q: want incarnation:first", t)
	}
	inc, err := ParseID(id)
	if err != nil {
		return fmt.Errorf("boundary: %w", err)
	}
	n, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return fmt.Errorf("boundary: first number: %w", err)
	}
	got := Boundary{Incarnation{inc}, Seq(n)}
	if again, _ := got.MarshalText(); string(again) != string(t) {
		return fmt.Errorf("boundary %.60q: first number: want no leading zeros", t)
	}
	*b = got
	return nil
}

// History is a stream's line of incarnations, in ascending order of First. Two
// copies of a stream that have the same incarnation at number n have the same
// messages up to n. A History may lack its oldest part: then its first boundary
// is above 1 and numbers below it belong to no known incarnation.
//
// Methods that return a History return a new one; none changes the receiver.
type History []Boundary

// Check reports whether h can be a history: first numbers ascend from at least
// 1, and no incarnation is zero or appears twice in a row.
func (h History) Check() error {
	for i, b := range h {
		switch {
		case b.Incarnation.IsZero():
			return fmt.Errorf("history: boundary %d has no incarnation", i)
		case b.First == 0 || b.First > MaxSeq:
			return fmt.Errorf("history: boundary %d at %d, numbers are 1 to %d", i, b.First, MaxSeq)
		case i > 0 && b.First <= h[i-1].First:
			return fmt.Errorf("history: boundary %d at %d does not follow %d", i, b.First, h[i-1].First)
		case i > 0 && b.Incarnation == h[i-1].Incarnation:
			return fmt.Errorf("history: incarnation %s twice in a row", b.Incarnation)
		}
	}
	return nil
}

// index returns the boundary that covers n, -1 if none does.
func (h History) index(n Seq) int {
	i, _ := slices.BinarySearchFunc(h, n, func(b Boundary, n Seq) int {
		if b.First <= n {
			return -1
		}
		return 1
	})
	return i - 1
}

// At returns the incarnation that wrote number n, zero if h does not know.
func (h History) At(n Seq) Incarnation {
	if i := h.index(n); i >= 0 {
		return h[i].Incarnation
	}
	return Incarnation{}
}

// Start returns the first number of the incarnation that wrote n, 1 if h does
// not know it.
func (h History) Start(n Seq) Seq {
	if i := h.index(n); i >= 0 {
		return h[i].First
	}
	return 1
}

// End returns the last number that the incarnation which wrote n can have
// written: the one before the next boundary, but not above last. If h does not
// know n, that is the one before h's first boundary.
func (h History) End(n, last Seq) Seq {
	if i := h.index(n) + 1; i < len(h) && h[i].First-1 < last {
		return h[i].First - 1
	}
	return last
}

// Upto returns the part of h that covers the numbers 1 to n.
func (h History) Upto(n Seq) History { return slices.Clone(h[:h.index(n)+1]) }

// Begin returns h up to n-1, with inc writing from n on.
func (h History) Begin(inc Incarnation, n Seq) History {
	var before History
	if n > 1 {
		before = h[:h.index(n-1)+1]
	}
	return append(slices.Clone(before), Boundary{inc, n})
}

// Common returns the common point of two copies of a stream: the largest number
// up to which both have equal incarnations, 0 if there is none. aLast and bLast
// are the last numbers the copies hold.
//
// The histories are compared from the newest number down, run by run, so the
// cost is linear in their boundaries and not in the numbers.
func Common(a History, aLast Seq, b History, bLast Seq) Seq {
	n := min(aLast, bLast)
	i, j := a.index(n), b.index(n)
	for n > 0 && i >= 0 && j >= 0 {
		if a[i].Incarnation == b[j].Incarnation {
			return n
		}
		// The two differ down to the larger of the two firsts.
		n = max(a[i].First, b[j].First) - 1
		for i >= 0 && a[i].First > n {
			i--
		}
		for j >= 0 && b[j].First > n {
			j--
		}
	}
	return 0
}
