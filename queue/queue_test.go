package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func TestPutAndNext(t *testing.T) {
	l := openLane(t)
	l.put(1, 5)
	l.want(1, bodies(1, 5)...)
	l.want(3, bodies(3, 5)...)
	l.reopen()
	l.put(6, 7)
	l.want(1, bodies(1, 7)...)
	if st := l.Stats(); st.Accepted != 7 || st.Backlog != 7 || st.Next != 8 || st.Oldest != 1 || !st.OldestTime.Equal(base) || st.BacklogBytes == 0 {
		t.Errorf("stats: %+v", st)
	}
}

func TestPutIsAllOrNone(t *testing.T) {
	l := openLane(t)
	big := wire.Message{Time: base, Body: make([]byte, wire.MaxRecord)}
	if err := l.Put(context.Background(), msg("m1"), big); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "message 2 of 2") {
		t.Errorf("too large: %v", err)
	}
	if err := l.Put(context.Background(), msg("m1"), wire.Message{Topic: "\xff", Time: base}); err == nil {
		t.Error("a topic that is not UTF-8 was taken")
	}
	if err := l.PutAsync([]wire.Message{big}, func(error) { t.Error("done was called") }); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	l.put(1, 1)
	l.want(1, "m1")
}

func TestPutLargerThanABatch(t *testing.T) {
	l := openLane(t)
	var list []wire.Message
	for range 40 {
		list = append(list, wire.Message{Time: base, Body: make([]byte, 100<<10)})
	}
	list = append(list, wire.Message{Time: base, Body: make([]byte, wire.MaxRecord-100)})
	if err := l.Put(context.Background(), list...); err != nil {
		t.Fatal(err)
	}
	if n := len(l.drain(1)); n != 41 {
		t.Errorf("%d messages, want 41", n)
	}
	if st := l.Stats(); st.Commits != 2 { // Open's, and one
		t.Errorf("%d commits for one Put and Open", st.Commits)
	}
	for range 64 {
		list = append(list, list[40])
	}
	if err := l.Put(context.Background(), list...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than %d bytes in one Put: %v", MaxPut, err)
	}
}

func TestPutAsyncCallsBackOnceInOrder(t *testing.T) {
	l := openLane(t)
	const n = 2000
	var mu sync.Mutex
	var got []int
	for i := 1; i <= n; i++ {
		err := l.PutAsync([]wire.Message{msg(fmt.Sprint("m", i))}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			got = append(got, i)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	commits := l.Stats().Commits
	l.reopen()
	for i, g := range got {
		if g != i+1 {
			t.Fatalf("callback %d was for put %d", i+1, g)
		}
	}
	if len(got) != n {
		t.Errorf("%d callbacks, want %d", len(got), n)
	}
	if commits > n/4 {
		t.Errorf("%d commits for %d puts: no group commit", commits, n)
	}
	l.want(1, bodies(1, n)...)
}

func TestConcurrentPuts(t *testing.T) {
	l := openLane(t)
	var wg sync.WaitGroup
	for p := range 32 {
		wg.Go(func() {
			for i := range 20 {
				if err := l.Put(context.Background(), msg(fmt.Sprintf("%d/%d", p, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[int]int{}
	for _, it := range l.drain(1) {
		var p, i int
		fmt.Sscanf(it.body, "%d/%d", &p, &i)
		if i != seen[p] {
			t.Fatalf("producer %d: %s after %d", p, it.body, seen[p])
		}
		seen[p]++
	}
	if len(seen) != 32 {
		t.Errorf("%d producers, want 32", len(seen))
	}
}

func TestPutContext(t *testing.T) {
	l := openLane(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Put(ctx, msg("m1")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUncertain) {
		t.Errorf("before hand-over: %v", err)
	}
	l.want(1)

	// The writer has taken the message and hangs in its commit.
	ctx, cancel = context.WithCancel(context.Background())
	hang, entered := make(chan struct{}), make(chan struct{})
	go l.do(context.Background(), func(*change) (bool, error) { close(entered); <-hang; return false, nil })
	<-entered
	waiting := make(chan error)
	go func() { waiting <- l.Put(ctx, msg("gone")) }()
	for {
		l.mu.Lock()
		w := l.waiting
		l.mu.Unlock()
		if w != nil {
			break
		}
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUncertain) {
		t.Errorf("while waiting: %v", err)
	}
	close(hang)
	l.put(1, 1)
	l.want(1, "m1") // "gone" was certainly not stored

	// Taken by the writer: uncertain, and not ctx's error.
	ctx, cancel = context.WithCancel(context.Background())
	l.cfg.Synced = nil
	taken := make(chan struct{})
	hang = make(chan struct{})
	go l.PutAsync([]wire.Message{msg("m2")}, func(error) { close(taken); <-hang })
	<-taken
	g, _, err := l.enqueue(ctx, mustEncode(t, msg("m3")))
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	g.taken = true
	l.mu.Unlock()
	res := make(chan error)
	go func() { res <- l.Put(ctx, msg("m4")) }()
	for {
		l.mu.Lock()
		n := len(g.puts)
		l.mu.Unlock()
		if n == 2 {
			break
		}
	}
	cancel()
	if err := <-res; !errors.Is(err, ErrUncertain) || errors.Is(err, context.Canceled) {
		t.Errorf("after hand-over: %v", err)
	}
	close(hang)
	<-g.done
}

func mustEncode(t *testing.T, m ...wire.Message) *put {
	p, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFlushWaitsForAcks(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	l.welcome(storeA, wire.Match{})
	done := make(chan error, 1)
	go func() { done <- l.Flush(context.Background()) }()
	l.Ack(l.epoch(), 2)
	select {
	case err := <-done:
		t.Fatalf("flush ended at 2 of 3: %v", err)
	default:
	}
	l.Ack(l.epoch(), 99) // cut at what there is
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.put(4, 4)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("flush: %v", err)
	}
	go func() { done <- l.Flush(context.Background()) }()
	l.Queue.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("flush of a closed queue: %v", err)
	}
}

func TestClosedQueue(t *testing.T) {
	l := openLane(t)
	l.put(1, 1)
	q := l.Queue
	l.close()
	if err := q.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := q.Put(context.Background(), msg("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("put: %v", err)
	}
	if err := q.PutAsync(nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("put async: %v", err)
	}
	if _, err := q.Drop(context.Background(), 1, 1, wire.ReasonPurged); !errors.Is(err, ErrClosed) {
		t.Errorf("drop: %v", err)
	}
}

func TestFolders(t *testing.T) {
	l := openLane(t)
	l.put(1, 2)
	if _, err := Open(context.Background(), l.cfg); !errors.Is(err, ErrInUse) {
		t.Errorf("a second queue on one folder: %v", err)
	}
	if _, err := ReadStats(l.cfg.Dir); !errors.Is(err, ErrInUse) {
		t.Errorf("stats of an open folder: %v", err)
	}
	l.close()
	st, err := ReadStats(l.cfg.Dir)
	if err != nil || st.Backlog != 2 || st.Agent != "pump-7" || st.Lane != "default" || !st.OldestTime.Equal(base) {
		t.Errorf("stats: %+v, %v", st, err)
	}
	other := l.cfg
	other.Agent = "pump-8"
	if _, err := Open(context.Background(), other); !errors.Is(err, ErrForeign) {
		t.Errorf("another agent's folder: %v", err)
	}
	other = l.cfg
	other.Lane = "alarms"
	if _, err := Open(context.Background(), other); !errors.Is(err, ErrForeign) {
		t.Errorf("another lane's folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, []byte("x"), 0o600)
	other.Dir = file
	if _, err := Open(context.Background(), other); !errors.Is(err, ErrNotAQueue) {
		t.Errorf("a file: %v", err)
	}
	if _, err := ReadStats(t.TempDir()); !errors.Is(err, ErrNotAQueue) {
		t.Errorf("stats of an empty folder: %v", err)
	}
	for _, bad := range []Config{{}, {Agent: "a/b", Lane: "l", Dir: "d"}, {Agent: "a", Dir: "d"}, {Agent: "a", Lane: "l"}, {Agent: "a", Lane: "l", Dir: "d", SegmentSize: 1}} {
		if _, err := Open(context.Background(), bad); err == nil {
			t.Errorf("%+v was opened", bad)
		}
	}
	l.open()
	l.want(1, bodies(1, 2)...)
}

func TestSmallNeighboursAreSentTogether(t *testing.T) {
	l := openLane(t)
	l.put(1, 300)
	for range 2 {
		e, ok, err := l.Next(l.epoch(), 1)
		if err != nil || !ok || e.To < 100 {
			t.Fatalf("entry %d to %d: %v", e.From, e.To, err)
		}
		l.want(1, bodies(1, 300)...)
		l.crash() // the second time from disk
	}
}
