package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text form is a whole number with a unit: B,
// KiB, MiB, GiB, TiB (powers of 1024), KB, MB, GB, TB (powers of 1000), or none
// for bytes.
type Size int64

var units = []struct {
	name string
	size Size
}{
	// Largest first, for String. All end with "B", so that is last for ParseSize.
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads the text form of a size.
func ParseSize(s string) (Size, error) {
	number, factor := s, Size(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			number, factor = strings.TrimSuffix(rest, " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a size; write a whole number of bytes, or 512KiB, 10MiB, 2GiB (also KB, MB, GB)", s)
	}
	if n > uint64(math.MaxInt64/factor) {
		return 0, fmt.Errorf("%.40q is more bytes than can be counted", s)
	}
	return Size(n) * factor, nil
}

// String returns the shortest exact text form: the largest unit that divides z.
func (z Size) String() string {
	if z > 0 {
		for _, u := range units {
			if z%u.size == 0 && u.size > 1 {
				return strconv.FormatInt(int64(z/u.size), 10) + u.name
			}
		}
	}
	return strconv.FormatInt(int64(z), 10)
}

// Approximate prints a number of bytes for people, to three digits: 1.50MiB.
func Approximate(n uint64) string {
	for _, u := range units {
		if u.size&(u.size-1) != 0 || u.size == 1 || n < uint64(u.size) {
			continue
		}
		x := float64(n) / float64(u.size)
		digits := 2
		for y := x; y >= 10 && digits > 0; y /= 10 {
			digits--
		}
		return strconv.FormatFloat(x, 'f', digits, 64) + u.name
	}
	return strconv.FormatUint(n, 10) + "B"
}
