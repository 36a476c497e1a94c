package journal

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

const childDir = "FIELDPOST_TEST_JOURNAL_DIR"

var killRounds = flag.Int("kill-rounds", 12, "rounds of TestKill9")

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	leak.Main(m)
}

const childAgents = 5

// childClient is an agent that has endless messages ready.
func childClient(i int) *client {
	id := fmt.Sprintf("pump-%d", i)
	sum := sha256.Sum256([]byte(id))
	return &client{id: wire.AgentID(id), epoch: wire.Epoch{ID: wire.ID(sum[:16])}, next: 1 << 40,
		history: wire.History{{Incarnation: wire.Incarnation{ID: wire.ID(sum[16:])}, First: 1}}}
}

// child appends for several agents at once until it is killed, and says on
// stdout what was answered.
func child(dir string) {
	j, err := Open(Options{Dir: dir, SegmentSize: 64 << 10, Logger: quiet})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range childAgents {
		c := childClient(i)
		wg.Go(func() {
			_, err := c.connect(j)
			for k := 0; err == nil; k++ {
				if err = c.send(j, 1+k%5); err == nil {
					mu.Lock()
					fmt.Println(i, uint64(c.w))
					mu.Unlock()
				}
			}
			fmt.Println("error", err)
			os.Exit(1)
		})
	}
	wg.Wait()
}

// TestKill9 kills a process that writes a journal, again and again. An oracle
// outside of it holds what was answered: all of that is stored, once and in
// order, and what a reader has seen before a kill is still there after it.
func TestKill9(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := map[string]uint64{}
	var seen []string
	var cursor collector.Cursor
	unanswered := 0
	for round := range *killRounds {
		runAndKill(t, dir, acked, time.Duration(r.IntN(60))*time.Millisecond, func(ctx context.Context, reader *Reader) {
			var err error
			cursor, err = reader.Follow(ctx, cursor, func(s collector.Stored) error {
				seen = append(seen, fmt.Sprintf("%s %d-%d", s.Agent, s.Entry.From, s.Entry.To))
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("round %d: follow: %v", round, err)
			}
		})
		reader, err := OpenReader(dir)
		must(t, err)
		cursor, err = reader.Read(context.Background(), cursor, func(s collector.Stored) error {
			seen = append(seen, fmt.Sprintf("%s %d-%d", s.Agent, s.Entry.From, s.Entry.To))
			return nil
		})
		must(t, err)
		if rep := audit(t, dir); !rep.OK {
			t.Fatalf("round %d: %s", round, rep.String())
		}
		if t.Failed() {
			return
		}
	}
	j := openTest(t, Options{Dir: dir})
	var all []string
	_, err := j.Read(context.Background(), "", func(s collector.Stored) error {
		all = append(all, fmt.Sprintf("%s %d-%d", s.Agent, s.Entry.From, s.Entry.To))
		return nil
	})
	must(t, err)
	// The last commit may have been made durable by this opening only.
	if len(all) < len(seen) || strings.Join(all[:len(seen)], ";") != strings.Join(seen, ";") {
		t.Errorf("readers beside the kills saw %d entries, now there are %d, or others", len(seen), len(all))
	}
	got := bodies(t, j.Read)
	for i := range childAgents {
		c := childClient(i)
		n := len(got[c.id])
		if uint64(n) < acked[fmt.Sprint(i)] {
			t.Errorf("%s: %d messages stored, %d were answered", c.id, n, acked[fmt.Sprint(i)])
		}
		unanswered += n - int(acked[fmt.Sprint(i)])
		for k, b := range got[c.id] {
			if b != c.body(wire.Seq(k+1)) {
				t.Fatalf("%s: message %d is %q", c.id, k+1, b)
			}
		}
	}
	t.Logf("%d kills, %d entries, answered %v, stored and not answered at the last kill %d, segments %d", *killRounds, len(all), acked, unanswered, j.Stats().Segments)
}

// runAndKill runs the child until some of its answers have come and a little
// longer, with a reader beside it.
func runAndKill(t *testing.T, dir string, acked map[string]uint64, more time.Duration, follow func(context.Context, *Reader)) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for n := 0; lines.Scan(); n++ {
		var agent string
		var w uint64
		if _, err := fmt.Sscan(lines.Text(), &agent, &w); err != nil {
			t.Errorf("the child says %q", lines.Text())
			continue
		}
		if w <= acked[agent] {
			t.Errorf("agent %s was answered %d after %d", agent, w, acked[agent])
		}
		acked[agent] = w
		if n == 20 {
			reader, err := OpenReader(dir)
			must(t, err)
			wg.Go(func() { follow(ctx, reader) })
			time.AfterFunc(more, func() { cmd.Process.Kill() })
		}
	}
	cancel()
	wg.Wait()
	cmd.Wait() // it was killed
}
