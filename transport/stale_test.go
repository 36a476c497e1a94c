package transport

import (
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func TestRule2ASignIsOnlyBelievedOfALaneThatHasNotGoneOn(t *testing.T) {
	epoch, other := wire.Epoch{ID: wire.NewID()}, wire.Epoch{ID: wire.NewID()}
	state := func(e wire.Epoch, next wire.Seq) wire.StreamState { return wire.StreamState{Epoch: e, Next: next} }
	for _, c := range []struct {
		name   string
		now    wire.StreamState
		beyond bool
		want   bool
	}{
		{"nothing is beyond, nothing was written", state(epoch, 8), false, false},
		{"nothing is beyond", state(epoch, 9), false, false},
		{"memory went back", state(epoch, 8), true, false},
		{"it may have been written since", state(epoch, 9), true, true},
		{"another stream went on", state(other, 9), true, false},
	} {
		if got := stale([]wire.StreamState{state(epoch, 8)}, []wire.StreamState{c.now}, []wire.Match{{Found: true, Common: 7, W: 9, Beyond: c.beyond}}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
