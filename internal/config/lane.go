package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// LaneSettings are the settings of one lane.
type LaneSettings struct {
	Priority    int // on the link; higher goes first
	Share       int // per cent of the link that the lane keeps beside higher ones; 0: the default
	Compression wire.Codec
	SegmentSize Size // bytes of a file before the next is begun; 0: the queue's default
}

// Limits of a lane's settings.
const (
	MaxPriority = 100 // and -100
	MaxShare    = 90  // per cent
	MinSegment  = 64 << 10
	MaxSegment  = 1 << 30
)

// lane returns the keys of one lane.
func (d *decoder) lane(l *LaneSettings) fields {
	return fields{
		"priority":     d.scalar(func(s string) (err error) { l.Priority, err = parsePriority(s); return }),
		"share":        d.scalar(func(s string) (err error) { l.Share, err = parseShare(s); return }),
		"compression":  d.scalar(func(s string) error { return l.Compression.UnmarshalText([]byte(s)) }),
		"segment_size": d.scalar(func(s string) (err error) { l.SegmentSize, err = parseSegment(s); return }),
	}
}

func parsePriority(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < -MaxPriority || n > MaxPriority {
		return 0, fmt.Errorf("%.40q is not a whole number from %d to %d; higher goes first", s, -MaxPriority, MaxPriority)
	}
	return n, nil
}

func parseShare(s string) (int, error) {
	number, ok := strings.CutSuffix(s, "%")
	n, err := strconv.ParseUint(number, 10, 8)
	if !ok || err != nil || n < 1 || n > MaxShare {
		return 0, fmt.Errorf("%.40q is not a share of the link; write 1%% to %d%%", s, MaxShare)
	}
	return int(n), nil
}

func parseSegment(s string) (Size, error) {
	z, err := ParseSize(s)
	if err == nil && (z < MinSegment || z > MaxSegment) {
		err = fmt.Errorf("%s is not within %s and %s", z, Size(MinSegment), Size(MaxSegment))
	}
	return z, err
}
