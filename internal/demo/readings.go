package demo

import (
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// gauge is one thing that is read from this host.
type gauge struct {
	topic string
	read  func() (any, error)
}

// reading is the body of a message.
type reading struct {
	Run   int       `json:"run"` // of the agent's process
	N     int       `json:"n"`   // of the reading, in this run
	At    time.Time `json:"at"`
	Value any       `json:"value,omitempty"`
	Error string    `json:"error,omitempty"` // instead of the value: why there is none
}

// gauges returns what every supported system can tell without privileges. A
// gauge that this host lacks reports its error as a reading.
func gauges() []gauge {
	return []gauge{
		{"host/cpu", func() (any, error) {
			busy, err := cpu.Percent(0, false)
			return map[string]any{"busy_percent": busy, "cores": runtime.NumCPU()}, err
		}},
		{"host/memory", func() (any, error) {
			m, err := mem.VirtualMemory()
			if err != nil {
				return nil, err
			}
			return map[string]any{"total_bytes": m.Total, "available_bytes": m.Available, "used_percent": m.UsedPercent}, nil
		}},
		{"host/load", func() (any, error) { return load.Avg() }},
		{"host/net", func() (any, error) {
			all, err := net.IOCounters(false)
			if err != nil || len(all) == 0 {
				return nil, err
			}
			return map[string]any{"received_bytes": all[0].BytesRecv, "sent_bytes": all[0].BytesSent}, nil
		}},
		{"host/disk", func() (any, error) {
			dir, err := os.Getwd()
			if err != nil {
				return nil, err
			}
			d, err := disk.Usage(filepath.VolumeName(dir) + string(filepath.Separator))
			if err != nil {
				return nil, err
			}
			return map[string]any{"path": d.Path, "total_bytes": d.Total, "free_bytes": d.Free}, nil
		}},
	}
}

// take reads the gauge.
func (g *gauge) take(run, n int) reading {
	r := reading{Run: run, N: n, At: time.Now()}
	v, err := g.read()
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Value = v
	return r
}
