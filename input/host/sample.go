package host

import (
	"context"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// sample is the body of a message. Its names stay as they are; others may come.
type sample struct {
	Host     string      `json:"host"`
	Interval float64     `json:"interval_seconds"`
	CPU      *cpuPart    `json:"cpu,omitempty"`
	Memory   *memoryPart `json:"memory,omitempty"`
	Disk     []diskPart  `json:"disk,omitempty"`
	Network  []netPart   `json:"network,omitempty"`
	Load     *loadPart   `json:"load,omitempty"`
}

type cpuPart struct {
	Count int      `json:"count"`                  // processors that the system has
	Used  *percent `json:"used_percent,omitempty"` // of all of them; not in the first sample of some platforms
}

type memoryPart struct {
	Total     uint64  `json:"total_bytes"`
	Available uint64  `json:"available_bytes"`
	Used      percent `json:"used_percent"`
	SwapTotal uint64  `json:"swap_total_bytes"`
	SwapUsed  uint64  `json:"swap_used_bytes"`
}

type diskPart struct {
	Path   string  `json:"path"`
	Device string  `json:"device"`
	Total  uint64  `json:"total_bytes"`
	Free   uint64  `json:"free_bytes"` // for this user
	Used   percent `json:"used_percent"`
}

type netPart struct {
	Name          string `json:"name"`
	Received      uint64 `json:"received_bytes"`
	Sent          uint64 `json:"sent_bytes"`
	ReceiveErrors uint64 `json:"receive_errors"`
	SendErrors    uint64 `json:"send_errors"`
}

type loadPart struct {
	One     float64 `json:"1m"`
	Five    float64 `json:"5m"`
	Fifteen float64 `json:"15m"`
}

// percent is a share with one decimal.
type percent float64

func toPercent(f float64) percent {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return percent(math.Round(10*f) / 10)
}

// take takes a sample. What cannot be had is left out; a disk that does not answer
// holds nothing up for longer than the context.
func (in *Input) take(ctx context.Context) (s sample) {
	ctx, cancel := context.WithTimeout(ctx, min(in.cfg.Interval, 10*time.Second))
	defer cancel()
	if in.wanted("cpu") {
		s.CPU = &cpuPart{Count: runtime.NumCPU()}
		if n, err := cpu.CountsWithContext(ctx, true); err == nil && n > 0 {
			s.CPU.Count = n
		}
		if p, err := cpu.PercentWithContext(ctx, 0, false); err == nil && len(p) == 1 {
			used := toPercent(p[0])
			s.CPU.Used = &used
		}
	}
	if in.wanted("memory") {
		if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
			s.Memory = &memoryPart{Total: m.Total, Available: m.Available, Used: toPercent(m.UsedPercent)}
			if sw, err := mem.SwapMemoryWithContext(ctx); err == nil {
				s.Memory.SwapTotal, s.Memory.SwapUsed = sw.Total, sw.Used
			}
		}
	}
	if in.wanted("disk") {
		s.Disk = disks(ctx)
	}
	if in.wanted("network") {
		s.Network = networks(ctx)
	}
	if in.wanted("load") && runtime.GOOS != "windows" { // there it is made up
		if l, err := load.AvgWithContext(ctx); err == nil {
			s.Load = &loadPart{l.Load1, l.Load5, l.Load15}
		}
	}
	return s
}

// disks returns the file systems on disks, each once.
func disks(ctx context.Context) (list []diskPart) {
	parts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil && len(parts) == 0 {
		return nil
	}
	seen := map[string]bool{}
	for _, p := range parts {
		if seen[p.Device] || len(list) >= 64 || p.Fstype == "squashfs" || strings.HasPrefix(p.Mountpoint, "/boot") {
			continue
		}
		seen[p.Device] = true
		u, err := disk.UsageWithContext(ctx, p.Mountpoint)
		if err != nil || u.Total == 0 {
			continue
		}
		list = append(list, diskPart{Path: p.Mountpoint, Device: p.Device, Total: u.Total, Free: u.Free, Used: toPercent(u.UsedPercent)})
	}
	return list
}

// networks returns the interfaces that have carried anything, but the loopback.
func networks(ctx context.Context) (list []netPart) {
	all, err := net.IOCountersWithContext(ctx, true)
	if err != nil {
		return nil
	}
	for _, n := range all {
		if n.Name == "lo" || strings.HasPrefix(n.Name, "Loopback") || n.BytesRecv == 0 && n.BytesSent == 0 || len(list) >= 64 {
			continue
		}
		list = append(list, netPart{n.Name, n.BytesRecv, n.BytesSent, n.Errin, n.Errout})
	}
	return list
}
