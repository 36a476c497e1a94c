package queue

import "time"

// SyncBounds are the bounds of [SyncTimes.Within], ascending.
var SyncBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

// SyncTimes says how long the fsyncs of commits took that succeeded.
type SyncTimes struct {
	Count  uint64                  // of them
	Sum    time.Duration           // of the time they took
	Within [len(SyncBounds)]uint64 // how many took no longer than the bound of the same index
}

// note counts one more.
func (s *SyncTimes) note(d time.Duration) {
	s.Count++
	s.Sum += d
	for i := len(SyncBounds) - 1; i >= 0 && d <= SyncBounds[i]; i-- {
		s.Within[i]++
	}
}

// Add adds what o has counted.
func (s *SyncTimes) Add(o *SyncTimes) {
	s.Count += o.Count
	s.Sum += o.Sum
	for i := range s.Within {
		s.Within[i] += o.Within[i]
	}
}
