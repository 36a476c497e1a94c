package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time. Its text form is one or more numbers with a unit,
// as in 5s, 1m30s, 200ms, 24h; it is never negative.
type Duration time.Duration

// ParseDuration reads the text form of a duration.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		if _, num := strconv.ParseFloat(s, 64); num == nil {
			return 0, fmt.Errorf("%.40q has no unit; write 5s, 1m30s or 200ms", s)
		}
		return 0, fmt.Errorf("%.40q is not a duration; write 5s, 1m30s or 200ms", s)
	case d < 0:
		return 0, fmt.Errorf("%.40q is negative", s)
	}
	return Duration(d), nil
}

// zeroTail matches the parts that time.Duration prints although they are zero.
var zeroTail = regexp.MustCompile(`([hm])0[ms](0s)?$`)

// String returns the text form: 1m30s, 24h.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") || strings.HasSuffix(s, "h0m0s") {
		s = zeroTail.ReplaceAllString(s, "$1")
	}
	return s
}
