package doctor

import (
	"os"
	"time"

	"github.com/fieldpost/fieldpost/internal/boot"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// About is what a running daemon says of its process, for it knows better than who
// looks from outside.
type About struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	User    string    `json:"user"`
	Started time.Time `json:"started"`

	// ClockJump is by how much the wall clock was set since the start: beyond what has
	// passed.
	ClockJump float64 `json:"clock_jump_seconds"`

	Files       int   `json:"files"`        // descriptors open, below 0: not known
	FilesLimit  int   `json:"files_limit"`  // 0: none, or not known
	Memory      int64 `json:"memory"`       // bytes resident, 0: not known
	MemoryLimit int64 `json:"memory_limit"` // of the service, bytes; 0: none, or not known
}

// Self is the process from its start on. Its method may be called concurrently.
type Self struct {
	wall  time.Time
	since time.Duration // boot.Since at wall
}

// NewSelf begins to look.
func NewSelf() *Self { return &Self{time.Now().Round(0), boot.Since()} }

// About returns what is so now.
func (s *Self) About() About {
	passed := boot.Since() - s.since
	a := About{
		Version: daemon.Version(), PID: os.Getpid(), User: username(), Started: s.wall.UTC(),
		ClockJump: (time.Now().Round(0).Sub(s.wall) - passed).Seconds(),
	}
	a.Files, a.FilesLimit = descriptors()
	a.Memory, a.MemoryLimit = memory()
	return a
}
