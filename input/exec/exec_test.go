//go:build unix

package exec

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// taker is an agent that keeps what it gets.
type taker struct {
	mu   sync.Mutex
	full bool
	got  []string
}

func (k *taker) SendBatch(ctx context.Context, list []agent.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full {
		return agent.ErrFull
	}
	for _, m := range list {
		k.got = append(k.got, m.Topic+":"+string(m.Body))
	}
	return nil
}

func (k *taker) lines() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.got, "|")
}

// begin runs an input; stop ends it and returns how long that took.
func begin(t *testing.T, k *taker, cfg Config) (in *Input, stop func() time.Duration) {
	cfg.Topic = "t"
	in = New(k, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := in.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() time.Duration {
		began := time.Now()
		cancel()
		running.Wait()
		return time.Since(began)
	}
	t.Cleanup(func() { stop() })
	return in, stop
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func TestACommandOnAnInterval(t *testing.T) {
	k := &taker{}
	in, stop := begin(t, k, Config{Command: []string{"sh", "-c", `echo one; printf 'two\nlast'`}, Interval: 50 * time.Millisecond})
	eventually(t, "two runs", func() bool { return strings.HasPrefix(k.lines(), "t:one|t:two|t:last|t:one|t:two|t:last") })
	stop()
	if st := in.Status(); st.Messages < 6 || st.Trouble != "" || st.State != input.Stopped || st.Restarts != 0 {
		t.Errorf("status %+v", st)
	}
}

// A command that is kept running is started again when it ends, after a rest.
func TestACommandThatEnds(t *testing.T) {
	k := &taker{}
	var log logBuffer
	in, _ := begin(t, k, Config{Command: []string{"sh", "-c", `echo line; echo wrong >&2; exit 3`}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	eventually(t, "it is started again", func() bool { return k.lines() == "t:line|t:line" && in.Status().State == input.Waiting })
	if st := in.Status(); st.Restarts != 1 || !strings.Contains(st.Trouble, "exit status 3") || !strings.Contains(st.Trouble, "wrong") {
		t.Errorf("status %+v", st)
	}
	if !strings.Contains(log.String(), "line=wrong") {
		t.Errorf("log %s", log.String())
	}
}

type logBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

func TestACommandThatIsNotThere(t *testing.T) {
	in, _ := begin(t, &taker{}, Config{Command: []string{"/no/such/program"}})
	eventually(t, "it says so", func() bool { return strings.Contains(in.Status().Trouble, "cannot be started") })
}

// Its whole process group ends with the input: those that obey at once, the others
// after two seconds.
func TestTheProcessGroupEnds(t *testing.T) {
	for _, c := range []struct {
		name, script string
		least, most  time.Duration
	}{
		{"one that obeys", `sleep 1000 & echo $!; wait`, 0, 1500 * time.Millisecond},
		{"one that does not", `trap '' TERM; sh -c "trap '' TERM; echo \$\$; while :; do sleep 1000; done"`, endWithin, 2 * endWithin},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := &taker{}
			_, stop := begin(t, k, Config{Command: []string{"sh", "-c", c.script}})
			eventually(t, "it runs", func() bool { return k.lines() != "" })
			pid, err := strconv.Atoi(strings.TrimPrefix(k.lines(), "t:"))
			if err != nil {
				t.Fatal(err)
			}
			if d := stop(); d < c.least || d > c.most {
				t.Errorf("it took %s", d)
			}
			eventually(t, "its child is gone", func() bool { return syscall.Kill(pid, 0) != nil || zombie(pid) })
		})
	}
}

// zombie reports whether a process has ended and nobody has asked.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestATimeout(t *testing.T) {
	in, _ := begin(t, &taker{}, Config{Command: []string{"sleep", "1000"}, Interval: time.Hour, Timeout: 100 * time.Millisecond})
	eventually(t, "it is ended", func() bool { return strings.Contains(in.Status().Trouble, "longer than its timeout") })
}

// While the lane is full the command waits, and nothing is lost.
func TestAFullLane(t *testing.T) {
	k := &taker{full: true}
	file := filepath.Join(t.TempDir(), "done")
	in, _ := begin(t, k, Config{Command: []string{"sh", "-c", "seq 1 500000; touch " + file}, Interval: time.Hour})
	eventually(t, "it waits", func() bool { return in.Status().State == input.Waiting })
	time.Sleep(100 * time.Millisecond)
	if _, err := os.Stat(file); err == nil {
		t.Error("the command has ended although nothing was taken")
	}
	k.mu.Lock()
	k.full = false
	k.mu.Unlock()
	eventually(t, "all lines", func() bool { return in.Status().Messages == 500_000 })
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, line := range k.got {
		if line != fmt.Sprint("t:", i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

func TestStandardErrorIsBounded(t *testing.T) {
	var log logBuffer
	e := &errorLog{log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 1000 {
		io.WriteString(e, strings.Repeat("x", 10_000)+fmt.Sprint(i)+"\nshort\n")
	}
	e.flush()
	if n := strings.Count(log.String(), "\n"); n != errorLines+1 || len(log.String()) > (errorLines+1)*(errorBytes+200) {
		t.Errorf("%d lines, %d bytes", n, len(log.String()))
	}
	if !strings.Contains(log.String(), fmt.Sprint("lines_omitted=", 2000-errorLines)) {
		t.Error(log.String()[len(log.String())-200:])
	}
}
