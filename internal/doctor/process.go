package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"github.com/fieldpost/fieldpost/internal/control"
)

// Process is the daemon that has, or has not, the folder.
type Process struct {
	Program string // agent or collector
	Dir     string
	Version string     // of this program
	Started string     // how it is started: "service start" or "agent run"
	Must    bool       // it is to run: nobody else starts it
	Wants   func() int // descriptors if all come that may; nil: it is not known

	// Ask asks the daemon about itself. control.ErrNotRunning: there is none.
	Ask func(ctx context.Context) (About, error)

	// Held reports whether some process has the folder's lock. Nil: it is not known.
	Held func() bool

	machine func() (*mem.VirtualMemoryStat, error) // for tests; nil: the system's
}

// Checks returns the checks of the process.
func (p *Process) Checks() []Check {
	return []Check{
		{Group: "service", Name: "daemon", Time: 8 * time.Second, Needs: []string{"folder"}, Run: p.daemon},
		{Group: "service", Name: "versions", Time: 8 * time.Second, Needs: []string{"daemon"}, Run: p.versions},
		{Group: "service", Name: "descriptors", Time: 8 * time.Second, Needs: []string{"daemon"}, Run: p.limits},
		{Group: "service", Name: "memory", Time: 8 * time.Second, After: []string{"daemon"}, Run: p.memory},
	}
}

func (p *Process) daemon(ctx context.Context) []Finding {
	a, err := p.Ask(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning) && p.held(ctx):
		return []Finding{Doubt("if it is a program of yours that embeds the agent, ask that; if a daemon was being stopped or started, run this again", "a process has the folder and answers no commands")}
	case errors.Is(err, control.ErrNotRunning) && p.Must:
		return []Finding{Bad(p.Started, "no %s runs on this folder: nothing is %s", p.Program, p.work())}
	case errors.Is(err, control.ErrNotRunning):
		return []Finding{Doubt(p.Started, "no %s runs on this folder: nothing is %s", p.Program, p.work())}
	case errors.Is(err, control.ErrNoAnswer):
		return []Finding{Bad("it hangs, perhaps on its disk: look at its log and at dmesg, then restart it", "the daemon does not answer: %v", err)}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{Unseen(asRoot, "whether the %s runs cannot be told: its socket answers its own user and root alone", p.Program)}
	case err != nil:
		return []Finding{Bad("restart it: the daemon may be of another version than this command", "%v", err)}
	}
	return []Finding{Good("%s runs as process %d of %s since %s", p.Program, a.PID, a.User, a.Started.Format(time.RFC3339))}
}

// heldFor is how long a process may have a folder without answering: one that was
// killed and has not quite ended, or one that begins.
const heldFor = 1500 * time.Millisecond

// held reports whether a process has the folder and goes on having it.
func (p *Process) held(ctx context.Context) bool {
	if p.Held == nil {
		return false
	}
	for began := time.Now(); p.Held(); {
		if time.Since(began) > heldFor || ctx.Err() != nil {
			return true
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return false
}

func (p *Process) work() string {
	if p.Program == "agent" {
		return "read or delivered"
	}
	return "stored"
}

// idle is what the checks of the process say where none runs.
func idle(err error) []Finding {
	if errors.Is(err, control.ErrNotRunning) {
		return []Finding{Good("none runs")}
	}
	return []Finding{Doubt("mend what daemon says", "not known: %v", err)}
}

func (p *Process) versions(ctx context.Context) []Finding {
	a, err := p.Ask(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return []Finding{Good("this command is %s", p.Version)}
	}
	if err != nil {
		return idle(err)
	}
	if a.Version != p.Version {
		return []Finding{Doubt("restart the daemon, if it is the older one", "the daemon is %s, this command is %s", a.Version, p.Version)}
	}
	return []Finding{Good("daemon and command are %s", a.Version)}
}

func (p *Process) limits(ctx context.Context) []Finding {
	a, err := p.Ask(ctx)
	if err != nil {
		return idle(err)
	}
	const next = "raise LimitNOFILE (systemctl edit) or ulimit -n, and restart it"
	if a.FilesLimit == 0 || a.Files < 0 {
		return []Finding{Good("no limit is known")}
	}
	text := fmt.Sprintf("%d files and connections are open, %d may be", a.Files, a.FilesLimit)
	switch {
	case a.Files*100 >= a.FilesLimit*95:
		return []Finding{Bad(next, "%s: new ones fail", text)}
	case a.Files*100 >= a.FilesLimit*70:
		return []Finding{Doubt(next, "%s: that is near", text)}
	case p.Wants != nil && p.Wants() > a.FilesLimit*9/10:
		return []Finding{Doubt(next, "%s, and %d are wanted if all come at once", text, p.Wants())}
	}
	return []Finding{Good("%s", text)}
}

// How little memory of the machine is too little.
const (
	memoryDoubt = 64 << 20
	memoryBad   = 16 << 20
)

func (p *Process) memory(ctx context.Context) (list []Finding) {
	machine := p.machine
	if machine == nil {
		machine = mem.VirtualMemory
	}
	m, err := machine()
	const next = "see what takes it (top); the kernel kills programs when none is left"
	switch {
	case err != nil:
		list = append(list, Doubt("look by the system's own means", "how much memory is free is not known: %v", err))
	case m.Available < memoryBad:
		list = append(list, Bad(next, "%s of the machine's %s are available", approximate(int64(m.Available)), approximate(int64(m.Total))))
	case m.Available < memoryDoubt:
		list = append(list, Doubt(next, "%s of the machine's %s are available", approximate(int64(m.Available)), approximate(int64(m.Total))))
	default:
		list = append(list, Good("%s of the machine's %s are available", approximate(int64(m.Available)), approximate(int64(m.Total))))
	}
	a, err := p.Ask(ctx)
	if err != nil || a.Memory == 0 {
		return list
	}
	text := approximate(a.Memory) + " are the daemon's"
	if a.MemoryLimit > 0 && a.MemoryLimit < 1<<50 {
		text += ", of " + approximate(a.MemoryLimit) + " that it may have"
		if a.Memory*100 > a.MemoryLimit*85 {
			return append(list, Doubt("raise MemoryMax (systemctl edit), or see what it has so much for: lanes, inputs, agents", "%s: that is near", text).For("daemon"))
		}
	}
	return append(list, Good("%s", text).For("daemon"))
}
