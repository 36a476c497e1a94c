package transport

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/wire"
)

// ackedOf returns up to where each stream of f is acked.
func ackedOf(f *fakeSource) (list []wire.Seq) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		list = append(list, s.acked)
	}
	return list
}

// A message of the stream that goes ahead overtakes the backlog of its own lane,
// which keeps the line busy all the same. The stream is begun by the welcome.
func TestAStreamThatGoesAheadOvertakesItsLane(t *testing.T) {
	for _, size := range []int{300, 20_000, 900_000} { // three messages a batch
		t.Run(fmt.Sprintf("batch=%d", 3*size), func(t *testing.T) {
			bubble(t, func(t *testing.T, c *fakeCollector) {
				line := overLine(t, c)
				slowLine(line.Faults)
				src := newSource("default", size, 12_000_000/size)
				src.ahead, src.begin = true, true
				r := start(t, testConfig(line.Dial), src)
				r.until("the stream that the welcome begins", time.Minute, func() bool { return len(ackedOf(src)) == 2 && r.in(Connected)() })
				began := time.Now()
				var worst time.Duration
				for i := range 6 {
					time.Sleep(time.Duration(i) * 3100 * time.Millisecond)
					src.put(1, 200)
					r.Wake()
					took := r.until("a live message", 10*time.Minute, func() bool { return ackedOf(src)[1] == wire.Seq(i+1) })
					worst = max(worst, took)
				}
				if t.Logf("a live message was acked after %s at most", worst); worst > 1500*time.Millisecond {
					t.Errorf("a live message was acked after %s", worst)
				}
				if carried, line := line.Carried(faultnet.Up), int64(time.Since(began).Seconds()*100_000); carried < line*9/10 {
					t.Errorf("%d bytes were carried of %d", carried, line)
				}
				if got := ackedOf(src)[0]; got == 0 || src.delivered() || r.Status().Links != 1 {
					t.Errorf("the backlog is acked up to %d, %d links", got, r.Status().Links)
				}
			})
		})
	}
}

// While the stream that goes ahead could fill the line, the backlog has its share.
func TestABacklogKeepsItsShare(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		slowLine(line.Faults)
		const size = 5000
		src := newSource("default", size, 3000, 3000)
		src.ahead = true
		cfg := testConfig(line.Dial)
		cfg.Lanes = map[wire.Lane]LanePolicy{"default": {Share: 25}}
		r := start(t, cfg, src)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := ackedOf(src)
		if part := 100 * got[0] / (got[0] + got[1]); part < 21 || part > 29 {
			t.Errorf("the backlog got %d per cent of the line (%d messages of it, %d live), want 25", part, got[0], got[1])
		}
		if r.Status().Links != 1 {
			t.Errorf("%d links", r.Status().Links)
		}
	})
}

// A stream that the welcome has begun is not resumed on a link that a lane is left
// out of: the collector would take the session for told in full.
func TestAStreamThatHasBegunWaitsForLanesThatAreLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T, c *fakeCollector) {
		line := overLine(t, c)
		src, other := newSource("default", 100, 3), newSource("other", 100, 3)
		src.ahead, src.begin, other.welErr = true, true, errors.New("disk")
		r := start(t, testConfig(line.Dial), src, other)
		r.until("a link", time.Minute, func() bool { return r.in(Connected)() && ackedOf(src)[0] == 3 })
		src.put(1, 100)
		r.Wake()
		time.Sleep(laneReturnMin / 2)
		synctest.Wait()
		if got := ackedOf(src); len(got) != 2 || got[1] != 0 {
			t.Errorf("acked %v on the first link", got)
		}
		other.set(func(f *fakeSource) { f.welErr = nil })
		r.until("another link", time.Minute, func() bool { return src.delivered() && other.delivered() })
	})
}
