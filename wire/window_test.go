package wire_test

import (
	"slices"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// A history that is longer than a hello is told window by window, from the newest
// down. Whatever the store has of it, the first window that has anything in common
// with it gives the true common point.
func TestWindowsOfALongHistory(t *testing.T) {
	const openings = 3*wire.MaxHelloBounds + 5
	full := wire.StreamState{Lane: "default", Epoch: goldenEpoch, Next: 2*openings + 1, Acked: 2 * openings}
	for i := range openings { // two numbers each
		full.Boundaries = append(full.Boundaries, bound(i+1, wire.Seq(2*i+1)))
		full.Boundaries[i].Incarnation.ID[1] = byte(i >> 16)
	}
	before := slices.Clone(full.Boundaries)
	last := full.Last()
	for _, w := range []wire.Seq{0, 1, 2, 9, 10, 11, 2 * wire.MaxHelloBounds, 2*wire.MaxHelloBounds + 10, 2*wire.MaxHelloBounds + 11, last - 2*wire.MaxHelloBounds, last - 1, last} {
		for _, forked := range []bool{false, true} {
			store, storeLast := full.Boundaries.Upto(w), w
			if forked {
				store, storeLast = store.Begin(goldenIncarnation, w+1), w+7
			}
			var below, common wire.Seq
			hellos := 0
			for {
				told := full.Window(below, wire.MaxHelloBounds)
				hellos++
				if err := told.Check(); err != nil {
					t.Fatal(err)
				}
				common = wire.Common(told.Boundaries, told.Last(), store, storeLast)
				if below = told.Boundaries[0].First; common > 0 || below == 1 {
					break
				}
			}
			if common != w || hellos > 4 {
				t.Errorf("W %d, forked %t: common point %d after %d hellos", w, forked, common, hellos)
			}
		}

		r := full.Around(w, wire.MaxHelloBounds)
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		if w < last && r.Next <= w || w > 0 && r.Boundaries.At(w) != full.Boundaries.At(w) {
			t.Errorf("around %d: %d to %d", w, r.Boundaries[0].First, r.Next)
		}
	}
	same(t, slices.Equal(full.Boundaries, before), true)

	short := goodState()
	same(t, short.Window(0, wire.MaxHelloBounds), short)
	same(t, short.Around(5, wire.MaxHelloBounds), short)
}
