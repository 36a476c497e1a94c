package powercut

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fieldpost/fieldpost/rigs/powercut/machine"
)

// childEnv has a child's orders, as JSON.
const childEnv = "FIELDPOST_POWERCUT_CHILD"

// orders is what a child is to do.
type orders struct {
	Role    string // "agent" or "collector"
	Site    string // the rig's folder, in which everything is mounted
	Mounts  string // the part of it that the child may see
	BootID  string // a file that stands in for the kernel's boot id
	Dir     string // of the agent, or of the journal
	Segment int64  // bytes of a segment

	// Of an agent.
	Collector string // host:port, "" for none
	Lanes     []string
	Life      int
	Drain     bool // send nothing, end when everything is delivered

	// Of a collector.
	Before, After string // files for an export: when the journal has been opened, when it is closed
}

// Child does what a rig's child has to do, if this process is one, and does not
// return then. A program that runs histories calls it first.
func Child() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = machine.Settle(o.Site, o.Mounts, o.BootID)
	}
	if err == nil {
		switch o.Role {
		case "agent":
			err = o.agent()
		case "collector":
			err = o.collector()
		}
	}
	if err != nil {
		say("failed", err.Error())
	}
	os.Exit(0)
}

var saying sync.Mutex

// say tells the parent something, as one line.
func say(words ...any) {
	saying.Lock()
	defer saying.Unlock()
	line := strings.ReplaceAll(strings.TrimSuffix(fmt.Sprintln(words...), "\n"), "\n", "; ")
	os.Stdout.WriteString(line + "\n") // a parent that is gone has killed this process
}

// told is closed when the parent asks for an orderly end, or is gone.
func told() <-chan struct{} {
	end := make(chan struct{})
	go func() { // ends with the process
		defer close(end)
		var b [1]byte
		for {
			if _, err := os.Stdin.Read(b[:]); err != nil {
				return
			}
		}
	}()
	return end
}

// logger writes what an operator should know to stderr, which the parent shows
// with a failure.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// under returns a folder for an agent or a journal within a mounted file system,
// below a folder that is not there yet.
func under(mounted string) string { return filepath.Join(mounted, "var", "lib", "fieldpost") }
