package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

const filledEnv = "FIELDPOST_QUEUE_FILLED_DISK"

// TestADiskThatSomebodyElseFillsAndFrees runs a lane on a small file system that
// another fills to the last byte and frees again, 100 times, 25 with each policy,
// and with a kill in every fifth round. All that was accepted comes out once and in
// order, or has a tombstone where the policy drops; what was refused does not.
func TestADiskThatSomebodyElseFillsAndFrees(t *testing.T) {
	if spec := os.Getenv(filledEnv); spec != "" {
		filledChild(t, strings.Split(spec, ":"))
		return
	}
	for kind, program := range map[string]string{"tmpfs": "", "ext4": "mkfs.ext4", "quota": "mkfs.btrfs"} {
		t.Run(kind, func(t *testing.T) {
			attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
			if os.Geteuid() != 0 {
				if program != "" {
					cannot(t, "a loop device needs root")
				}
				attr.Cloneflags |= syscall.CLONE_NEWUSER
				attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			}
			if _, err := exec.LookPath(program); program != "" && err != nil {
				cannot(t, err.Error())
			}
			if err := filledRun(t, attr, "mount", kind, t.TempDir()); errors.Is(err, syscall.EPERM) {
				cannot(t, err.Error())
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// cannot skips a test by name, and fails it where CI is to run it.
func cannot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must fill a disk, and no file system of its own can be had here: %s", why)
	}
	t.Skipf("no file system of its own can be had here: %s", why)
}

func filledRun(t *testing.T, attr *syscall.SysProcAttr, spec ...string) error {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run", "^TestADiskThatSomebodyElseFillsAndFrees$", "-test.v")
	cmd.Env = append(os.Environ(), filledEnv+"="+strings.Join(spec, ":"))
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// filledChild is a process of the test: it mounts, or it is one life of the lane.
func filledChild(t *testing.T, spec []string) {
	if spec[0] == "own" {
		filledByItself(t, spec[1], spec[2] == "drain")
		return
	}
	if spec[0] == "life" {
		seed, _ := strconv.ParseUint(spec[2], 10, 64)
		rounds, _ := strconv.Atoi(spec[3])
		filledLife(t, spec[1], seed, rounds)
		return
	}
	kind, dir := spec[1], spec[2]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(dir, "disk")
	must(os.Mkdir(disk, 0o700))
	must(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	image, whole := filepath.Join(dir, "image"), filepath.Join(dir, "whole")
	var steps [][]string
	size := int64(8 << 20)
	switch kind {
	case "tmpfs":
		must(syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=6m"))
	case "ext4":
		steps = [][]string{{"mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", image}, {"mount", "-o", "loop", image, disk}}
	case "quota": // a folder with a limit of its own: EDQUOT, on a file system that never writes in place
		must(os.Mkdir(whole, 0o700))
		size = 256 << 20
		steps = [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, whole}, {"btrfs", "quota", "enable", whole},
			{"btrfs", "subvolume", "create", whole + "/a"}, {"btrfs", "qgroup", "limit", "6m", whole + "/a"}, {"mount", "--bind", whole + "/a", disk}}
		defer syscall.Unmount(whole, 0)
	}
	must(os.WriteFile(image, nil, 0o600))
	must(os.Truncate(image, size))
	for _, args := range steps {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	defer syscall.Unmount(disk, 0)
	for _, what := range []string{"keep", "keep", "keep", "drain", "drain"} {
		must(filledRun(t, nil, "own", dir, what))
	}
	must(os.RemoveAll(filepath.Join(disk, "lane")))
	for i, o := range []Overflow{Reject, Block, DropOldest, DropNewest} {
		must(os.WriteFile(filepath.Join(dir, "log"), []byte(o.String()+"\n"), 0o600))
		for k := range 5 {
			must(filledRun(t, nil, "life", dir, fmt.Sprint(100*i+k+1), "5"))
		}
		must(filledRun(t, nil, "life", dir, "0", "0"))
		judgeFilled(t, filepath.Join(dir, "log"), o)
		must(os.RemoveAll(filepath.Join(disk, "lane")))
	}
}

// filledByItself is a life of a lane that has all the room there is. It opens, fills
// what is left, delivers some of it if it is to, and ends without a word.
func filledByItself(t *testing.T, dir string, drain bool) {
	lane := filepath.Join(dir, "disk", "lane")
	_, err := os.Stat(lane)
	again := err == nil
	q, err := Open(context.Background(), Config{Dir: lane, Agent: "a", Lane: "l", AckDelay: time.Millisecond, SegmentSize: 16 << 20, FreeSpace: -1})
	if err != nil {
		t.Fatal(err)
	}
	st := q.Streams()[0]
	match := wire.Match{Found: st.Acked > 0, Epoch: st.Epoch, W: st.Acked, Common: st.Acked}
	if _, err := q.Welcome(context.Background(), storeA, q.Streams(), []wire.Match{match}); err != nil {
		t.Fatal(err)
	}
	if n := q.Stats().Backlog; again && n < 500 {
		t.Fatalf("a backlog of %d after a life that filled the disk", n)
	}
	body := make([]byte, 1000)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	list := make([]wire.Message, 900)
	for i := range list {
		list[i] = wire.Message{Time: base, Body: body}
	}
	for err == nil {
		err = q.Put(context.Background(), list...)
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	sent := st.Acked
	for range 5 {
		if !drain {
			break
		}
		e, ok, err := q.Next(st.Epoch, sent+1)
		if err != nil || !ok {
			t.Fatalf("next %d: %t, %v", sent+1, ok, err)
		}
		sent = e.To
		q.Ack(st.Epoch, sent)
	}
	time.Sleep(10 * time.Millisecond) // an ack may be on disk, or not
	os.Exit(0)
}

// filledLife is one life of the lane: it drains what is there, then puts messages
// while the disk is filled and freed, and ends without a word. Rounds 0 drains all.
func filledLife(t *testing.T, dir string, seed uint64, rounds int) {
	r := rand.New(rand.NewPCG(seed, 4))
	disk := filepath.Join(dir, "disk")
	filler := filepath.Join(disk, "filler")
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	policy, _ := bufio.NewReader(log).ReadString('\n')
	var o Overflow
	if err := o.UnmarshalText([]byte(strings.TrimSpace(policy))); err != nil {
		t.Fatal(err)
	}
	say := func(format string, a ...any) {
		if _, err := fmt.Fprintf(log, format+"\n", a...); err != nil {
			t.Fatal(err)
		}
	}
	if rounds == 0 {
		os.Remove(filler)
	}
	q, err := Open(context.Background(), Config{Dir: filepath.Join(disk, "lane"), Agent: "a", Lane: "l", AckDelay: time.Millisecond, SegmentSize: 128 << 10, Overflow: o, FreeSpace: -1})
	if err != nil {
		if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && rounds > 0 { // without any room, and no ballast: another life
			os.Remove(filler)
			os.Exit(0)
		}
		t.Fatal(err)
	}
	st := q.Streams()[0]
	sent := st.Acked
	match := wire.Match{Found: st.Acked > 0, Epoch: st.Epoch, W: st.Acked, Common: st.Acked}
	if _, err := q.Welcome(context.Background(), storeA, q.Streams(), []wire.Match{match}); err != nil {
		t.Fatal(err)
	}
	drain := func(most int) {
		for range most {
			e, ok, err := q.Next(st.Epoch, sent+1)
			if err != nil {
				t.Fatalf("next %d: %v", sent+1, err)
			}
			if !ok {
				return
			}
			if e.IsTombstone() {
				say("dropped %d %d %s", e.From, e.To, e.Reason)
			} else {
				b, err := wire.ParseBatch(e.Batch)
				if err != nil {
					t.Fatal(err)
				}
				for n, err := range b.Records() {
					if err != nil {
						t.Fatal(err)
					}
					if n.Seq >= e.From && n.Seq <= e.To {
						m, _ := n.Record.Message()
						id, _, _ := strings.Cut(string(m.Body), " ")
						say("stored %d %s", n.Seq, id)
					}
				}
			}
			sent = e.To
			q.Ack(st.Epoch, sent)
		}
	}
	for round := range rounds {
		patience := 20 * time.Millisecond
		if r.IntN(3) > 0 { // somebody fills the disk
			f, err := os.OpenFile(filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err == nil {
				for err == nil {
					_, err = f.Write(make([]byte, 64<<10))
				}
				for err = nil; err == nil; {
					_, err = f.Write(make([]byte, 512))
				}
				f.Close()
			}
		} else {
			os.Remove(filler)
			patience = 2 * roomPause // whoever waits for room (Block) is to find it
		}
		for k := range 6 {
			id := fmt.Sprintf("%d.%d.%d", seed, round, k)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			err := q.Put(ctx, wire.Message{Time: base, Body: append([]byte(id+" "), make([]byte, r.IntN(30000))...)})
			cancel()
			switch {
			case err == nil:
				say("accepted %s", id)
			case errors.Is(err, ErrUncertain):
				say("unknown %s", id)
			case errors.Is(err, ErrFull) || errors.Is(err, ErrDropped) || errors.Is(err, context.DeadlineExceeded):
				say("refused %s", id)
			default:
				t.Fatal(err)
			}
		}
		drain(r.IntN(8))
	}
	if rounds > 0 {
		os.Exit(0) // as after kill -9
	}
	drain(1 << 30)
	if err := q.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, 100<<10)}); err != nil {
		t.Fatalf("the disk is free and all is delivered: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// judgeFilled reads what the lives said.
func judgeFilled(t *testing.T, path string, o Overflow) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said, stored := map[string]string{}, map[string]int{}
	dropped := map[int]bool{}
	counts := map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		switch w[0] {
		case "accepted", "refused", "unknown":
			said[w[1]] = w[0]
			counts[w[0]]++
		case "stored":
			// A kill may lose acks that were not committed: the next life sends those
			// numbers again, with the same bytes. A store knows W; here it is by number.
			n, _ := strconv.Atoi(w[1])
			if before, ok := stored[w[2]]; ok && before != n {
				t.Fatalf("%s is stored as %d and as %d", w[2], before, n)
			}
			stored[w[2]] = n
		case "dropped":
			from, _ := strconv.Atoi(w[1])
			to, _ := strconv.Atoi(w[2])
			for n := from; n <= to; n++ {
				dropped[n] = true
			}
			if o == Reject || o == Block {
				t.Fatalf("%s: with the policy %s", sc.Text(), o)
			}
		}
	}
	missing := 0
	for id, what := range said {
		_, there := stored[id]
		switch {
		case what == "refused" && there:
			t.Errorf("%s was refused and is stored", id)
		case what == "accepted" && !there:
			missing++
		}
	}
	if missing > len(dropped) || missing > 0 && o != DropOldest {
		t.Errorf("%d accepted messages are missing, %d numbers were dropped", missing, len(dropped))
	}
	if counts["accepted"] == 0 || counts["refused"] == 0 && o != DropOldest {
		t.Errorf("%s: hardly anything happened: %v", o, counts)
	}
	t.Logf("%s: %v, %d stored, %d numbers dropped, %d of them accepted before", o, counts, len(stored), len(dropped), missing)
}
