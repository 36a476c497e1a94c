package collector

import "math"

// descriptors returns how many files and connections this process may have open:
// Windows has no limit of that kind.
func descriptors() int { return math.MaxInt32 }
