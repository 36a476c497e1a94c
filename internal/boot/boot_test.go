package boot

import (
	"testing"
	"time"
)

func TestTheStartIsOneAndItsTimeGoesOn(t *testing.T) {
	a, ok := ID()
	if b, again := ID(); a != b || ok != again {
		t.Errorf("ids %x and %x", a, b)
	}
	before, now := Since(), time.Now()
	for time.Since(now) < 20*time.Millisecond {
		time.Sleep(time.Millisecond)
	}
	if d := Since() - before; before <= 0 || d <= 0 || d > time.Minute {
		t.Errorf("%s after the start, then %s more", before, d)
	}
}
