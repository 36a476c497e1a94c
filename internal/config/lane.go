package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// LaneSettings are the settings of one lane.
type LaneSettings struct {
	Priority    int  // on the link; higher goes first
	Share       int  // per cent of the link that the lane keeps beside higher ones; 0: the default
	MaxBytes    Size // on disk; 0: no limit
	MaxMessages uint64
	MaxAge      time.Duration
	FreeSpace   Size          // of the disk, that stays free
	Overflow    string        // one of Overflows, "": reject
	Interval    time.Duration // between syncs; 0: before every answer
	LiveFirst   time.Duration // after an outage longer than this new messages go ahead; 0: never
	Compression wire.Codec
	SegmentSize Size // bytes of a file before the next is begun; 0: the queue's default
}

// Overflows are the policies of a full lane.
var Overflows = []string{"reject", "block", "drop-oldest", "drop-newest"}

// Limits of a lane's settings.
const (
	MaxPriority = 100       // and -100
	MaxShare    = 90        // per cent
	MinLane     = 512 << 10 // bytes
	MinAge      = time.Second
	MaxAge      = 100 * 365 * 24 * time.Hour
	MinInterval = 10 * time.Millisecond // between syncs
	MaxInterval = time.Hour
	MinOutage   = time.Second // for live first
	MaxOutage   = 100 * 365 * 24 * time.Hour
	MinSegment  = 64 << 10
	MaxSegment  = 1 << 30
)

// lane returns the keys of one lane.
func (d *decoder) lane(l *LaneSettings) fields {
	return fields{
		"priority":     d.scalar(func(s string) (err error) { l.Priority, err = parsePriority(s); return }),
		"share":        d.scalar(func(s string) (err error) { l.Share, err = parseShare(s); return }),
		"max_bytes":    d.scalar(func(s string) (err error) { l.MaxBytes, err = parseLaneSize(s); return }),
		"max_messages": d.scalar(func(s string) (err error) { l.MaxMessages, err = parseMessages(s); return }),
		"max_age":      d.duration(&l.MaxAge, MinAge, MaxAge),
		"free_space": d.scalar(func(s string) (err error) {
			if l.FreeSpace, err = ParseSize(s); err == nil && l.FreeSpace == 0 {
				l.FreeSpace = -1 // said, and not left out
			}
			return
		}),
		"overflow":     d.scalar(func(s string) (err error) { l.Overflow, err = parseOverflow(s); return }),
		"durability":   d.scalar(func(s string) (err error) { l.Interval, err = parseDurability(s); return }),
		"live_first":   d.duration(&l.LiveFirst, MinOutage, MaxOutage),
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

func parseLaneSize(s string) (Size, error) {
	z, err := ParseSize(s)
	if err == nil && z < MinLane {
		err = fmt.Errorf("%s is less than %s; leave the key out for no limit", z, Size(MinLane))
	}
	return z, err
}

func parseMessages(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.40q is not a whole number above 0; leave the key out for no limit", s)
	}
	return n, nil
}

func parseOverflow(s string) (string, error) {
	if slices.Contains(Overflows, s) {
		return s, nil
	}
	hint := "write " + strings.Join(Overflows, ", ")
	if near := nearest(s, Overflows); near != "" {
		hint = "did you mean " + near + "?"
	}
	return "", fmt.Errorf("%.40q says nothing of a full lane; %s", s, hint)
}

// parseDurability reads "always" or "interval 1s".
func parseDurability(s string) (time.Duration, error) {
	if s == "always" {
		return 0, nil
	}
	text, ok := strings.CutPrefix(s, "interval ")
	if !ok {
		return 0, fmt.Errorf("%.40q is not a durability; write always, or \"interval 1s\" to lose up to so much in a power cut", s)
	}
	v, err := ParseDuration(strings.TrimLeft(text, " "))
	if d := time.Duration(v); err == nil && (d < MinInterval || d > MaxInterval) {
		err = fmt.Errorf("an interval of %s is not within %s and %s", v, Duration(MinInterval), Duration(MaxInterval))
	}
	return time.Duration(v), err
}

func parseSegment(s string) (Size, error) {
	z, err := ParseSize(s)
	if err == nil && (z < MinSegment || z > MaxSegment) {
		err = fmt.Errorf("%s is not within %s and %s", z, Size(MinSegment), Size(MaxSegment))
	}
	return z, err
}
