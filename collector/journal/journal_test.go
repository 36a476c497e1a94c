package journal

import (
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
)

// openTest opens a journal that is closed with the test.
func openTest(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// TestStore runs the suite over segments of several sizes: rotation must not
// show.
func TestStore(t *testing.T) {
	for name, size := range map[string]int64{"one segment": 0, "small segments": 6 << 10, "a segment for each commit": 1} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, storetest.Hooks{
				Open: func(t *testing.T) collector.Store {
					return openTest(t, Options{Dir: t.TempDir(), SegmentSize: size, ride: 20 * time.Millisecond})
				},
				Reopen: func(t *testing.T, s collector.Store) collector.Store {
					j := s.(*Journal)
					if err := j.Close(); err != nil {
						t.Fatal(err)
					}
					return openTest(t, Options{Dir: j.opts.Dir, SegmentSize: size, ride: 20 * time.Millisecond})
				},
			})
		})
	}
}
