package wine

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/export"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/rigs/powercut/lossy"
	"github.com/fieldpost/fieldpost/wire"
)

var (
	cuts = flag.Int("cuts", 24, "how often TestPowerCuts cuts the power")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of TestPowerCuts")
)

// ntfs is what the disk does with names: they are in one journal, and a flush of a
// file or of a folder brings all before it.
var ntfs = lossy.Options{Order: lossy.Journaled, OwnName: lossy.Always}

// moments are where the power goes, and the highest number of each that is of use.
var moments = []lossy.Trap{
	{Event: lossy.Write, N: 300}, {Event: lossy.Write, N: 300}, {Event: lossy.Sync, N: 100}, {Event: lossy.Sync, N: 100},
	{Event: lossy.SyncDir, N: 10}, {Event: lossy.Create, N: 10}, {Event: lossy.Rename, N: 8}, {Event: lossy.Unlink, N: 8}, {Event: lossy.Resize, N: 12}, {Event: lossy.Mkdir, N: 3},
}

// TestPowerCuts cuts the power under an agent for Windows, whose drive P: is a disk
// with a volatile cache. What Send accepted is stored, once, in order; nothing is
// damaged and nothing given up.
func TestPowerCuts(t *testing.T) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must have root and /dev/fuse")
		}
		t.Skip("it needs root and /dev/fuse")
	} else {
		f.Close()
	}
	m := boot(t)
	child := m.unix(`C:\child`)
	must(t, os.MkdirAll(child, 0o755))
	build := exec.Command("go", "build", "-trimpath", "-o", child+"/", "./child")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Logf("seed %d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	done, messages, folders := 0, 0, 0
	for done < *cuts {
		h := &history{m: m, rng: rng, store: storetest.NewMemory(), disk: lossy.New(ntfs, rng.Uint64()), mount: filepath.Join(m.prefix, "disk")}
		n := 1 + rng.IntN(4)
		h.run(n)
		done += n
		messages += h.accepted
		folders += h.folders
		if t.Failed() {
			t.Fatalf("after %d cuts; -seed %d", done, *seed)
		}
	}
	t.Logf("%d cuts, %d messages accepted, %d flushes of folders: all are stored once, in order", done, messages, folders)
	if folders == 0 {
		t.Error("no flush of a folder has reached the disk")
	}
	if messages < done {
		t.Error("hardly anything was accepted: the cuts prove nothing")
	}
}

// TestPowerCutsAreSeen is the control: a disk that lies about its flushes.
func TestPowerCutsAreSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	m := boot(t)
	if _, err := os.Stat(m.unix(`C:\child\child.exe`)); err != nil {
		t.Skip("TestPowerCuts builds what this needs")
	}
	lies := ntfs
	lies.Lies.Files = true
	for i := range 10 {
		rng := rand.New(rand.NewPCG(*seed, uint64(i)))
		h := &history{m: m, rng: rng, store: storetest.NewMemory(), disk: lossy.New(lies, rng.Uint64()), mount: filepath.Join(m.prefix, "disk"), control: true}
		h.run(3)
		if len(h.wrong) > 0 {
			t.Logf("caught in history %d: %.300s", i+1, h.wrong[0])
			return
		}
	}
	t.Error("a disk that lies was not noticed in 10 histories")
}

// history is several lives of one folder, each ended by a power cut; the last drains.
type history struct {
	m        *machine
	rng      *rand.Rand
	store    *storetest.Memory
	disk     *lossy.Disk
	mount    string
	sent     oracle.Sent
	accepted int
	folders  int  // how often one was flushed
	control  bool // what is wrong is expected
	wrong    []string
}

func (h *history) complain(format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	if !h.control {
		h.m.t.Errorf(format, args...)
	}
}

func (h *history) run(lives int) {
	t := h.m.t
	address, stop := h.serve()
	defer stop()
	for n := 1; n <= lives; n++ {
		trap := moments[h.rng.IntN(len(moments))]
		trap.N, trap.When, trap.Limit = 1+h.rng.IntN(trap.N), lossy.When(h.rng.IntN(3)), 500
		to := address
		if h.rng.IntN(3) == 0 {
			to = "-"
		}
		h.disk.Arm(trap)
		h.life(n, to, "")
		if len(h.wrong) > 0 {
			return
		}
		h.folders += h.disk.Counts()[lossy.SyncDir]
		h.disk = h.disk.Image(h.rng.Uint64())
	}
	h.disk.Arm(lossy.Trap{})
	if !h.life(lives+1, address, "drain") {
		h.complain("the last life did not drain")
		return
	}
	verdict, err := h.sent.Judge(h.entries())
	must(t, err)
	if !verdict.OK() {
		h.complain("%s", &verdict)
	}
	for _, e := range h.store.Entries() {
		if e.Entry.IsTombstone() {
			h.complain("numbers %d to %d are given up: %s %s", e.Entry.From, e.Entry.To, e.Entry.Reason, e.Entry.Detail)
		}
	}
}

// life runs the agent until its disk is gone, or with drain to its end, and notes
// what it says. It reports whether it has drained.
func (h *history) life(n int, address, drain string) (drained bool) {
	t := h.m.t
	must(t, os.MkdirAll(h.mount, 0o755))
	drive := filepath.Join(h.m.prefix, "dosdevices", "p:")
	os.Remove(drive)
	must(t, os.Symlink(h.mount, drive))
	mounted, err := lossy.Mount(h.mount, h.disk)
	must(t, err)
	defer func() {
		h.m.until("the disk to be free", 20*time.Second, func() bool { return mounted.Unmount() == nil })
	}()
	args := []string{`P:\agent`, fmt.Sprint(n), address}
	if drain != "" {
		args = append(args, drain)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	c := h.m.command(ctx, `C:\child\child.exe`, args...)
	var log strings.Builder
	c.Stderr = &log
	c.WaitDelay = 10 * time.Second
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	ended := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-h.disk.Done():
			select {
			case <-time.After(200 * time.Millisecond): // it may show that it accepts nothing on a dead disk
			case <-ended:
			}
			c.Process.Kill()
		case <-time.After(8 * time.Second):
			if drain == "" { // the trap did not spring
				h.disk.Cut()
				c.Process.Kill()
			}
		case <-ended:
		}
	}()
	tries := map[string]oracle.Message{}
	outcomes := map[string]oracle.Outcome{}
	var order []string
	failed := ""
	for s := bufio.NewScanner(out); s.Scan(); {
		words := strings.Fields(s.Text())
		switch {
		case len(words) > 0 && words[0] == "failed":
			failed = s.Text()
		case len(words) > 0 && words[0] == "drained":
			drained = true
		case len(words) < 3:
		case words[0] == "try":
			var p, i int
			if _, err := fmt.Sscan(words[1], &p); err != nil {
				break
			}
			if _, err := fmt.Sscan(words[2], &i); err != nil {
				break
			}
			key := words[1] + " " + words[2]
			tries[key] = oracle.Message{Agent: "pump-7", Lane: "default", Producer: fmt.Sprint(n, "/", p), Topic: "cut", Body: []byte(body(fmt.Sprint(n), p, i))}
			outcomes[key] = oracle.Unknown
			order = append(order, key)
		case words[0] == "accepted":
			outcomes[words[1]+" "+words[2]] = oracle.Accepted
			h.accepted++
		}
	}
	close(ended)
	<-watching
	c.Wait()
	for _, key := range order {
		h.sent.Add(tries[key], outcomes[key])
	}
	dead := false
	select {
	case <-h.disk.Done():
		dead = true
	default:
	}
	if failed != "" && !dead {
		h.complain("life %d: %s\n%.2000s", n, failed, log.String())
	}
	return drained
}

// body is that of the child's.
func body(life string, p, n int) string {
	return fmt.Sprintf("life %s producer %d message %d %s", life, p, n, strings.Repeat("x", n*37%3000))
}

// serve runs a collector until stop is called.
func (h *history) serve() (address string, stop func()) {
	t := h.m.t
	srv, err := collector.New(collector.Config{InsecurePlaintext: true, Store: h.store, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, ln) }()
	return ln.Addr().String(), func() {
		cancel()
		must(t, <-ended)
	}
}

// entries yields what the store has.
func (h *history) entries() iter.Seq2[oracle.Stored, error] {
	return func(yield func(oracle.Stored, error) bool) {
		enough := errors.New("enough")
		for _, s := range h.store.Entries() {
			err := export.Messages(export.Filter{}, s, func(seq wire.Seq, m wire.Message) error {
				if !yield(oracle.Stored{Agent: string(s.Agent), Lane: string(s.Stream.Lane), Seq: uint64(seq), Topic: m.Topic, Body: m.Body}, nil) {
					return enough
				}
				return nil
			})
			if err == enough {
				return
			}
			if err != nil {
				yield(oracle.Stored{}, err)
				return
			}
		}
	}
}
