package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"time"
)

// telemetry returns samples of this machine as an agent on it would report them:
// what the system says of processors, memory, load, disks and network, as JSON.
func telemetry(count int) [][]byte {
	out := make([][]byte, 0, count)
	for i := range count {
		v := map[string]any{"host": "edge-0042", "n": i, "time": time.Now().UTC()}
		for _, name := range []string{"stat", "meminfo", "loadavg", "diskstats", "net/dev"} {
			b, err := os.ReadFile("/proc/" + name)
			if err != nil {
				continue
			}
			lines := bytes.Split(b, []byte("\n"))
			for k, line := range lines[:min(len(lines), 6)] {
				if f := strings.Fields(string(line)); len(f) > 0 && (k == i%6 || name == "loadavg") {
					v[name] = f[:min(len(f), 11)]
				}
			}
		}
		b, err := json.Marshal(v)
		if err != nil {
			continue
		}
		out = append(out, b)
	}
	return out
}
