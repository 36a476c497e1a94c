package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is how this run measures.
type bench struct {
	dir    string        // below which every folder is made
	rounds int           // of each comparison
	max    time.Duration // of one load
	loads  []int         // backlogs, in messages
	agents int           // idle ones
}

type measure struct {
	name string
	run  func(*bench, io.Writer) error
}

var measures = []measure{
	{"queue", (*bench).measureQueue},
	{"wear", (*bench).measureWear},
	{"end", (*bench).measureEnd},
	{"space", (*bench).measureSpace},
	{"backlog", (*bench).measureBacklog},
	{"journal", (*bench).measureJournal},
	{"idle", (*bench).measureIdle},
}

func main() {
	playOr(func() int {
		if err := run(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	})
}

// playOr plays a role if this process is a child, else it runs the parent; then
// it ends the process.
func playOr(parent func() int) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(parent())
	}
	if err := serve(role); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(args []string, w io.Writer) error {
	b := &bench{loads: []int{0, 1_000_000, 10_000_000}}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&b.dir, "dir", os.TempDir(), "where to make the folders; their disk is what is measured")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds of each comparison")
	flags.DurationVar(&b.max, "max", 3*time.Second, "longest load")
	flags.IntVar(&b.agents, "agents", 15_000, "idle agents; each is a descriptor on both sides")
	flags.Func("loads", "backlogs in messages, with commas between (default 0,1000000,10000000)", func(s string) error {
		b.loads = nil
		for part := range strings.SplitSeq(s, ",") {
			var n int
			if _, err := fmt.Sscanf(part, "%d", &n); err != nil || n < 0 {
				return fmt.Errorf("%q is no number of messages", part)
			}
			b.loads = append(b.loads, n)
		}
		return nil
	})
	flags.Parse(args) // ends the process on an error
	if b.rounds < 1 {
		return fmt.Errorf("-rounds %d: at least 1", b.rounds)
	}
	for _, name := range flags.Args() {
		if !slices.ContainsFunc(measures, func(m measure) bool { return m.name == name }) {
			return fmt.Errorf("there is no measure %q: queue, wear, end, space, backlog, journal, idle", name)
		}
	}
	fmt.Fprintf(w, "%s, %s, %d processors, load %s\n\n", time.Now().Format("2006-01-02 15:04"), runtime.Version(), runtime.NumCPU(), load())
	for _, m := range measures {
		if flags.NArg() > 0 && !slices.Contains(flags.Args(), m.name) {
			continue
		}
		if err := m.run(b, w); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// load returns how busy the machine is.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}

// folder makes a folder for one round; remove removes it.
func (b *bench) folder() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(b.dir, "fieldpost-bench-")
	return dir, func() { os.RemoveAll(dir) }, err
}
