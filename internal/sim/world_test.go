package sim

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/boot"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/wire"
)

const (
	address     = "collector:4717"
	heartbeat   = 2 * time.Second
	segmentSize = 64 << 10
)

// world is one schedule's machines, links and store, and what was sent.
type world struct {
	r        *rand.Rand
	net      faultnet.Network
	dir      string
	machines []*machine
	center   *center
	cloned   bool
	copied   bool // a folder or a store was copied or put back: lines of history may part
	restored bool // a folder was put back: what only the newer one held is in the store alone
	begin    time.Time
	tally    oracle.Tally // of a verdict that is good
	policy   policy
	sneaker  bool          // many sticks go round
	real     time.Duration // when it began, on the machine's own clock

	purges    []purge
	purged    map[string]uint64 // messages that purges say they have dropped, by agent and lane
	uncertain map[string]bool   // they may have dropped more

	mu     sync.Mutex
	dirs   int // folders made so far
	alive  map[wire.Instance]*life
	owner  map[[2]string]*life // by lane and incarnation, of those that are known
	sent   []*attempt
	sticks []*stick
	events []string
	seen   map[string]int // what happened, by what the product showed
	faults []string       // what must not happen
}

func newWorld(seed uint64, dir string) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 1)), dir: dir, alive: map[wire.Instance]*life{}, owner: map[[2]string]*life{}, real: boot.Since(), seen: map[string]int{}, purged: map[string]uint64{}, uncertain: map[string]bool{}, begin: time.Now()}
	w.policy = drawPolicy(seed, w.r)
	w.sneaker = seed%4 == 2
	w.center = &center{w: w, files: seed%3 == 0, disk: newDisk(w, "collector")}
	if w.center.files {
		w.center.age = drawAge(w.r)
	}
	w.center.empty()
	return w
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record(format, args...)
}

// record is note with w.mu held. Folders are named without what is not the
// seed's.
func (w *world) record(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), w.dir, "")
	w.events = append(w.events, fmt.Sprintf("%8.3fs  %s", time.Since(w.begin).Seconds(), line))
}

// saw counts something that happened.
func (w *world) saw(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[what]++
}

// fault notes something that must not happen.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// logger writes the product's log into the event log.
func (w *world) logger(who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{w, who}, &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

type logWriter struct {
	w   *world
	who string
}

func (l logWriter) Write(b []byte) (int, error) {
	for _, s := range shown {
		if bytes.Contains(b, []byte(s.text)) && bytes.Contains(b, []byte(s.and)) {
			l.w.saw(s.what)
		}
	}
	l.w.note("    %s: %s", l.who, bytes.TrimSpace(b))
	return len(b), nil
}

// shown is what the product's log shows that happened.
var shown = []struct{ text, and, what string }{
	{"what was given up had reached the store before", "", "a tombstone came too late: the message is stored"},
	{"retention removes the journal's oldest segments", "", "retention: segments are removed"},
	{"follows as a backlog", "new=true", "live first: new messages go ahead in a new stream"},
	{"follows as a backlog", "new=false", "live first: new messages go ahead in a stream that was drained"},
	{"new messages wait behind the backlog", "still have a backlog", "live first: no stream is free"},
	{"the store is behind what was acked", "stream=", "live first: a store is behind one of several streams"},
}

// newDir returns a folder that does not exist yet.
func (w *world) newDir(what string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs++
	return filepath.Join(w.dir, fmt.Sprintf("%s-%d", what, w.dirs))
}

// freeze waits until nothing in the bubble can go on by itself: what is on disk
// then is what a kill leaves.
func (w *world) freeze() { synctest.Wait() }

// healDisks ends the faults of all disks.
func (w *world) healDisks() {
	w.center.disk.heal()
	for _, m := range w.machines {
		m.disk.heal()
	}
}

// hurry lets all producers send fast, or not any more.
func (w *world) hurry(on bool) {
	for _, m := range w.machines {
		if m.life != nil {
			m.life.hurry.Store(on)
		}
	}
}
