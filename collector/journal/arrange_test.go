package journal

import (
	"path/filepath"
	"testing"
)

// TestBelongs finds the place of a segment whose head is damaged by its first record.
func TestBelongs(t *testing.T) {
	dir := t.TempDir()
	own := func(n uint64) string { return segmentPath(dir, n) }
	for _, c := range []struct {
		what     string
		n, first uint64
		others   map[uint64]uint64
		want     string
	}{
		{"the newest, in its place", 4, 61, map[uint64]uint64{2: 21, 3: 41}, own(4)},
		{"its first records are damaged too", 3, 0, map[uint64]uint64{1: 1, 2: 21}, own(3)},
		{"nothing was written between two openings", 4, 41, map[uint64]uint64{2: 21, 3: 41}, own(4)},
		{"the oldest under the newest's name", 4, 1, map[uint64]uint64{2: 21, 3: 41}, own(1)},
		{"one in the middle", 5, 25, map[uint64]uint64{1: 1, 3: 41, 4: 50}, own(2)},
		{"two names are free", 6, 25, map[uint64]uint64{1: 1, 4: 50}, own(6) + misplacedSuffix},
		{"none is free", 4, 1, map[uint64]uint64{1: 1, 2: 21, 3: 41}, own(4) + misplacedSuffix},
		{"alone", 4, 1, nil, own(4)},
	} {
		if got := belongs(dir, c.n, c.first, c.others); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, filepath.Base(got), filepath.Base(c.want))
		}
	}
}
