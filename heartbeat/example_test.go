package heartbeat_test

import (
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/heartbeat"
)

func ExampleLiveness() {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := heartbeat.NewLiveness(10*time.Second, start)
	l.Connected(start.Add(time.Second))
	l.Heard(start.Add(9 * time.Second))
	l.Lost(start.Add(15*time.Second), "connection reset")
	for now := start.Add(time.Minute); ; {
		c, ok := l.Check(now)
		if !ok {
			break
		}
		fmt.Printf("%s %s: %s\n", c.Time.Format(time.TimeOnly), c.To, c.Cause)
	}
	// Output:
	// 12:00:01 online: connected
	// 12:00:26 late: link lost: connection reset
	// 12:00:36 offline: link lost: connection reset
}
