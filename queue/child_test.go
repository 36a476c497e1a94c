package queue

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// childEnv makes the test binary a writer that is there to be killed. It holds
// the folder.
const childEnv = "FIELDPOST_QUEUE_CHILD"

// child puts messages from several goroutines for ever, in batches of different
// sizes, and writes "try ID" before and "ok ID" after each Put: the oracle. It
// acks a part as it goes, so that segments come and go.
func child() {
	q, err := Open(context.Background(), Config{Dir: os.Getenv(childEnv), Agent: "a", Lane: "l", SegmentSize: minSegmentSize, AckDelay: time.Millisecond})
	if err != nil {
		fmt.Println("fail", err)
		return
	}
	run := os.Getpid()
	if _, err := q.Welcome(context.Background(), storeA, q.Streams(), []wire.Match{{}}); err != nil {
		fmt.Println("fail", err)
		return
	}
	open := q.Streams()[0]
	fmt.Println("open", open.Next)
	var out sync.Mutex
	say := func(a ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(a...)
	}
	for p := range 4 {
		go func() {
			for i := 0; ; i++ {
				var list []wire.Message
				for k := range 1 + i%3 {
					list = append(list, wire.Message{Time: base, Body: append(fmt.Appendf(nil, "%d/%d/%d/%d ", run, p, i, k), make([]byte, i*97%3000)...)})
				}
				say("try", fmt.Sprintf("%d/%d/%d", run, p, i), len(list))
				if err := q.Put(context.Background(), list...); err != nil {
					say("fail", err)
				}
				say("ok", fmt.Sprintf("%d/%d/%d", run, p, i), len(list))
			}
		}()
	}
	// Only what was there at the opening, and so has been looked at, is acked.
	for w := wire.Seq(0); ; w = min(w+5, open.Next-1) {
		time.Sleep(2 * time.Millisecond)
		say("ack", w)
		q.Ack(open.Epoch, w)
	}
}

// TestKill kills a writing process again and again. Every Put that said yes is
// there, once, in its producer's order; one that had not answered is there whole
// or not at all.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	oracle := map[string]string{} // "try" or "ok" of each Put
	kept := map[wire.Seq]string{} // what was seen under each number; it never changes
	var acked wire.Seq
	inFlight := 0
	for round := range rounds {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan string)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(pipe); s.Scan(); {
				lines <- s.Text()
			}
		}()
		kill := 20 + rand.IntN(80) // lines until the kill
		open := map[string]bool{}
		for line := range lines {
			f := strings.Fields(line)
			switch f[0] {
			case "fail":
				t.Errorf("round %d: %s", round, line)
			case "try":
				oracle[f[1]], open[f[1]] = "try "+f[2], true
			case "ok":
				oracle[f[1]] = "ok " + f[2]
				delete(open, f[1])
			case "ack":
				n, _ := strconv.ParseUint(f[1], 10, 64)
				acked = max(acked, wire.Seq(n))
			}
			if kill--; kill == 0 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if len(open) > 0 {
			inFlight++
		}
		checkKilled(t, dir, oracle, kept, acked)
	}
	t.Logf("%d kills, %d of them with a Put in flight; %d numbers", rounds, inFlight, len(kept))
	if inFlight == 0 {
		t.Error("no kill fell into a Put")
	}
}

func checkKilled(t *testing.T, dir string, oracle map[string]string, kept map[wire.Seq]string, acked wire.Seq) {
	t.Helper()
	q, err := Open(context.Background(), Config{Dir: dir, Agent: "a", Lane: "l", SegmentSize: minSegmentSize})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	st := q.Streams()[0]
	for n := q.Stats().Oldest; n < st.Next; {
		e, ok, err := q.Next(st.Epoch, n)
		if err != nil || !ok || e.IsTombstone() {
			t.Fatalf("next %d: %+v, %v, %v", n, e, ok, err)
		}
		b, err := e.Check()
		if err != nil {
			t.Fatal(err)
		}
		for r := range b.Records() {
			m, err := r.Record.Message()
			if err != nil {
				t.Fatal(err)
			}
			id, _, _ := strings.Cut(string(m.Body), " ")
			if was, ok := kept[r.Seq]; ok && was != id {
				t.Fatalf("number %d was %s and is %s", r.Seq, was, id)
			}
			kept[r.Seq] = id
		}
		n = e.To + 1
	}
	if oldest := q.Stats().Oldest; oldest > acked+1 {
		t.Fatalf("oldest is %d, acked at most %d", oldest, acked)
	}
	var order []wire.Seq
	for n := range kept {
		order = append(order, n)
	}
	slices.Sort(order)
	seen := map[string]int{}    // parts of each Put
	last := map[string][3]int{} // by run and producer
	for _, n := range order {
		if n >= st.Next {
			t.Fatalf("number %d is gone, next is %d", n, st.Next)
		}
		var run, p, i, k int
		fmt.Sscanf(kept[n], "%d/%d/%d/%d", &run, &p, &i, &k)
		seen[fmt.Sprintf("%d/%d/%d", run, p, i)]++
		key := fmt.Sprintf("%d/%d", run, p)
		if l, ok := last[key]; ok && (i < l[0] || i == l[0] && k != l[1]+1) {
			t.Fatalf("%s: %d/%d after %d/%d", key, i, k, l[0], l[1])
		}
		last[key] = [3]int{i, k}
	}
	for id, was := range oracle {
		state, parts, _ := strings.Cut(was, " ")
		want, _ := strconv.Atoi(parts)
		got := seen[id]
		if got != want && (state == "ok" || got != 0) {
			t.Fatalf("%s (%s): %d of %d messages", id, state, got, want)
		}
	}
}
