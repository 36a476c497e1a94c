package wire_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func inc(n int) wire.Incarnation { return wire.Incarnation{ID: wire.ID{0: byte(n >> 8), 15: byte(n)}} }

func bound(n int, first wire.Seq) wire.Boundary {
	return wire.Boundary{Incarnation: inc(n), First: first}
}

func TestBoundaryText(t *testing.T) {
	const id = "00000000000000000000000000000001"
	for text, want := range map[string]wire.Boundary{
		id + ":1":                    bound(1, 1),
		id + ":18446744073709551615": bound(1, 18446744073709551615), // History.Check refuses it
		id + ":0":                    bound(1, 0),                    // the same
	} {
		var b wire.Boundary
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q is %v, %v, want %v", text, b, err, want)
		}
		if back, err := b.MarshalText(); string(back) != text || err != nil {
			t.Errorf("%v is %q, %v, want %q", b, back, err, text)
		}
	}
	for text, want := range map[string]string{
		"":                            "want incarnation:first",
		id:                            "want incarnation:first",
		":1":                          "want 32 hex digits",
		id[1:] + ":1":                 "want 32 hex digits",
		"A" + id[1:] + ":1":           "want lower-case hex digits",
		id + ":":                      "first number",
		id + ":-1":                    "first number",
		id + ":+1":                    "first number",
		id + ": 1":                    "first number",
		id + ":1 ":                    "first number",
		id + ":0x1":                   "first number",
		id + ":1e3":                   "first number",
		id + ":1:2":                   "first number",
		id + ":01":                    "no leading zeros",
		id + ":00":                    "no leading zeros",
		id + ":18446744073709551616":  "first number",
		id + ":99999999999999999999x": "first number",
	} {
		b := bound(7, 7)
		wantError(t, b.UnmarshalText([]byte(text)), want)
		same(t, b, bound(7, 7))
	}
}

func TestHistoryCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		h    wire.History
		err  string
	}{
		{"empty", nil, ""},
		{"one", wire.History{bound(1, 1)}, ""},
		{"cut off at its beginning", wire.History{bound(1, 7), bound(2, 8)}, ""},
		{"at the largest number", wire.History{bound(1, 1), bound(2, wire.MaxSeq)}, ""},
		{"above the largest number", wire.History{bound(1, 1), bound(2, wire.MaxSeq+1)}, "boundary 1 at 9223372036854775808, numbers are 1 to 9223372036854775807"},
		{"number 0", wire.History{bound(1, 0)}, "boundary 0 at 0, numbers are 1 to"},
		{"no incarnation", wire.History{bound(1, 1), {First: 2}}, "boundary 1 has no incarnation"},
		{"the same number twice", wire.History{bound(1, 1), bound(2, 1)}, "boundary 1 at 1 does not follow 1"},
		{"a lower number", wire.History{bound(1, 5), bound(2, 9), bound(3, 8)}, "boundary 2 at 8 does not follow 9"},
		{"an incarnation twice in a row", wire.History{bound(1, 1), bound(1, 2)}, "twice in a row"},
	} {
		err := c.h.Check()
		if c.err != "" {
			wantError(t, err, c.err)
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// perNumber is a history the slow way: the incarnation of each number, zero for
// those below a cut-off history's first boundary. Element 0 is number 0.
type perNumber []wire.Incarnation

// history returns the boundaries of p from its first known number on.
func (p perNumber) history() (h wire.History) {
	for n := 1; n < len(p); n++ {
		if p[n] != p[n-1] {
			h = append(h, wire.Boundary{Incarnation: p[n], First: wire.Seq(n)})
		}
	}
	return h
}

// randomPair returns two copies of one stream that grew apart, as the store's
// and the agent's do, either of which may lack its oldest part. Now and then the
// two have nothing in common.
func randomPair(r *rand.Rand) (a, b perNumber) {
	fresh := 0
	grow := func(p perNumber, runs int) perNumber {
		for range runs {
			fresh++
			for range 1 + r.IntN(4) {
				p = append(p, inc(fresh))
			}
		}
		return p
	}
	start := perNumber{{}}
	common := start
	if r.IntN(8) > 0 {
		common = grow(start, r.IntN(8))
	}
	a, b = slices.Clone(common), slices.Clone(common)
	if k := len(common); k > 1 && r.IntN(2) == 0 { // one of them went on in the same incarnation
		for range r.IntN(4) {
			a = append(a, common[k-1])
		}
	}
	a, b = grow(a, r.IntN(5)), grow(b, r.IntN(5))
	for _, p := range []perNumber{a, b} { // cut off at a boundary
		if h := p.history(); len(h) > 1 && r.IntN(3) == 0 {
			clear(p[:h[r.IntN(len(h))].First])
		}
	}
	if r.IntN(2) == 0 {
		a, b = b, a
	}
	return a, b
}

func (p perNumber) at(n wire.Seq) wire.Incarnation {
	if n < wire.Seq(len(p)) {
		return p[n]
	}
	return p[len(p)-1] // beyond its last number the newest goes on
}

func TestHistoryAgainstBruteForce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	cutOff, parted, nothing := 0, 0, 0
	for range 5000 {
		a, b := randomPair(r)
		ah, bh := a.history(), b.history()
		if err := ah.Check(); err != nil {
			t.Fatal(err)
		}
		say := func(got, want any, what string, numbers ...any) {
			if got != want {
				t.Fatalf("%s is %v, want %v\na %v\nb %v", fmt.Sprintf(what, numbers...), got, want, ah, bh)
			}
		}
		if len(ah) > 0 && ah[0].First > 1 {
			cutOff++
		}

		last := wire.Seq(len(a) - 1)
		for n := range last + 3 {
			say(ah.At(n), a.at(n), "At(%d)", n)

			// Start and End: the run of numbers around n with n's incarnation; those
			// below a cut-off history's first boundary count as a run from 1 on.
			start := max(n, 1)
			for n > 0 && start > 1 && a.at(start-1) == a.at(n) {
				start--
			}
			say(ah.Start(n), start, "Start(%d)", n)
			if n > 0 {
				for _, bounded := range []wire.Seq{n, last, last + 5} {
					end := n
					for end < bounded && a.at(end+1) == a.at(n) {
						end++
					}
					say(ah.End(n, max(n, bounded)), end, "End(%d, %d)", n, bounded)
				}
			}

			upto := ah.Upto(n)
			for k := range n + 1 {
				say(upto.At(k), a.at(k), "Upto(%d).At(%d)", n, k)
			}
			if k := len(upto); k > 0 && upto[k-1].First > n {
				t.Fatalf("Upto(%d) goes up to %d", n, upto[k-1].First)
			}

			if n > 0 {
				begun := ah.Begin(inc(999), n)
				for k := range n {
					say(begun.At(k), a.at(k), "Begin(%d).At(%d)", n, k)
				}
				say(begun.At(n), inc(999), "Begin(%d).At(%d)", n, n)
				say(begun.At(n+100), inc(999), "Begin(%d).At(%d)", n, n+100)
				if err := begun.Check(); err != nil {
					t.Fatalf("Begin(%d): %v", n, err)
				}
			}
		}
		if !slices.Equal(ah, a.history()) {
			t.Fatalf("a method has changed its history\nfrom %v\nto   %v", a.history(), ah)
		}

		// Common, over all last numbers, whole histories and their beginnings.
		for range 20 {
			aLast, bLast := wire.Seq(r.IntN(len(a)+2)), wire.Seq(r.IntN(len(b)+2))
			want := min(aLast, bLast)
			for want > 0 && (a.at(want) != b.at(want) || a.at(want) == inc(0)) {
				want--
			}
			say(wire.Common(ah, aLast, bh, bLast), want, "Common(a, %d, b, %d)", aLast, bLast)
			say(wire.Common(bh, bLast, ah, aLast), want, "Common(b, %d, a, %d)", bLast, aLast)
			say(wire.Common(ah.Upto(aLast), aLast, bh.Upto(bLast), bLast), want, "Common of beginnings at %d and %d", aLast, bLast)
			if want == 0 {
				nothing++
			} else if want < min(aLast, bLast) {
				parted++
			}
		}
	}
	t.Logf("%d histories cut off; common points: %d where two parted, %d none", cutOff, parted, nothing)
	if min(cutOff, parted, nothing) < 250 {
		t.Error("the random histories do not cover every case")
	}
}

// Methods that return a History return a new one.
func TestHistoryIsNotShared(t *testing.T) {
	h := wire.History{bound(1, 1), bound(2, 5), bound(3, 9)}
	want := slices.Clone(h)
	_ = append(h.Upto(6), bound(9, 7))
	h.Upto(6)[0] = bound(9, 1)
	_ = append(h.Begin(inc(9), 6), bound(8, 8))
	h.Begin(inc(9), 6)[0] = bound(9, 1)
	same(t, h, want)
}

// The histories of a stream that was opened many thousand times are compared in
// time that grows with their boundaries, not with their numbers or the square.
func TestCommonOfLongHistories(t *testing.T) {
	var a, b wire.History
	for i := range wire.MaxHelloBounds {
		first := wire.Seq(i)<<40 + 1
		a = append(a, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.ID{1, byte(i >> 8), byte(i)}}, First: first})
		b = append(b, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.ID{2, byte(i >> 8), byte(i)}}, First: first + 1})
	}
	b[0] = a[0]
	begin := time.Now()
	same(t, wire.Common(a, wire.MaxSeq, b, wire.MaxSeq), wire.Seq(1<<40))
	if d := time.Since(begin); d > time.Second {
		t.Errorf("it took %s", d)
	}
}
