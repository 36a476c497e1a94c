package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func (l *lane) diskUse() (sum int64) {
	l.t.Helper()
	for _, name := range l.files() {
		if info, err := os.Stat(filepath.Join(l.cfg.Dir, name)); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

func TestOverflowRejectUsesNoNumber(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages = 3 })
	l.put(1, 3)
	for range 3 {
		if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	if err := l.Put(context.Background(), make([]wire.Message, 4)...); err == nil {
		t.Error("more in one call than the lane may hold")
	}
	l.welcome(storeA, wire.Match{})
	l.ack(2)
	l.put(4, 5)
	l.want(3, bodies(3, 5)...)
}

func TestOverflowBlockWaitsForRoomOrTheContext(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 2, Block })
	l.put(1, 2)
	l.welcome(storeA, wire.Match{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := l.Put(ctx, msg("no")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUncertain) {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- l.Put(context.Background(), msg("m3")) }()
	l.ack(1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.want(2, "m2", "m3")
	go func() { done <- l.Put(context.Background(), msg("no")) }()
	l.waitFor("the put to wait", func(Stats) bool { l.mu.Lock(); defer l.mu.Unlock(); return l.roomAsked != nil })
	l.Queue.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	l.open()
}

func TestOverflowDropNewestLeavesATombstone(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 2, DropNewest })
	l.put(1, 2)
	for range 3 {
		if err := l.Put(context.Background(), msg("x"), msg("y")); !errors.Is(err, ErrDropped) {
			t.Fatal(err)
		}
	}
	var outcome error
	done := make(chan struct{})
	l.PutAsync([]wire.Message{msg("z")}, func(err error) { outcome = err; close(done) })
	if <-done; !errors.Is(outcome, ErrDropped) {
		t.Error(outcome)
	}
	want := append(bodies(1, 2), "overflow", "overflow", "overflow", "overflow", "overflow", "overflow", "overflow")
	l.want(1, want...)
	l.crash()
	l.want(1, want...)
	if p, err := encode([]wire.Message{msg("z")}); err != nil || l.fp(9) != wire.Record(p.buf[1:]).Fingerprint() {
		t.Errorf("fingerprint %s of a message that only has a tombstone, %v", l.fp(9), err)
	}
	if st := l.Stats(); st.Accepted != 2 || st.Dropped[wire.ReasonOverflow] != 7 || st.Backlog != 2 {
		t.Errorf("%+v", st)
	}
	l.welcome(storeA, wire.Match{})
	l.ack(9)
	l.put(10, 11)
	l.want(10, "m10", "m11")
}

func TestOverflowDropOldestByMessages(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 5, DropOldest })
	l.put(1, 3)
	l.Put(context.Background(), msg("m4"), msg("m5")) // one batch: it goes as a whole
	l.put(6, 8)
	l.want(1, "overflow", "overflow", "overflow", "m4", "m5", "m6", "m7", "m8")
	l.put(9, 9)
	l.want(1, "overflow", "overflow", "overflow", "overflow", "overflow", "m6", "m7", "m8", "m9")
	l.crash()
	l.want(1, "overflow", "overflow", "overflow", "overflow", "overflow", "m6", "m7", "m8", "m9")
	if st := l.Stats(); st.Backlog != 4 || st.Accepted != 9 || st.Dropped[wire.ReasonOverflow] != 5 {
		t.Errorf("%+v", st)
	}
}

// A drop that was acked becomes part of a longer one with the next drop. The
// number in its middle never had bytes: that is no damage.
func TestANumberThatNeverHadBytesIsNoDamage(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 2, DropNewest })
	l.put(1, 2)
	for range 2 {
		if err := l.Put(context.Background(), msg("x")); !errors.Is(err, ErrDropped) {
			t.Fatal(err)
		}
	}
	l.welcome(storeA, l.match(3))
	l.put(5, 6)
	l.want(4, "overflow", "m5", "m6")
	l.ack(6)
	if st := l.Stats(); st.Quarantined > 0 || st.Segments > 1 || st.Forks > 0 {
		t.Errorf("%+v", st)
	}
	l.reopen()
	l.welcome(storeA, l.match(6))
	if st := l.Stats(); st.Quarantined > 0 || st.Forks > 0 {
		t.Errorf("after another opening: %+v", st)
	}
}

// The limit is one of the disk: what the lane's files take never goes above it.
func TestMaxBytesIsACapOnTheDisk(t *testing.T) {
	for _, o := range []Overflow{Reject, DropOldest, DropNewest} {
		t.Run(o.String(), func(t *testing.T) {
			const limit = 1 << 20
			l := openLane(t, func(c *Config) { c.MaxBytes, c.Overflow = limit, o })
			accepted, refused := 0, 0
			for i := range 400 {
				body := append(fmt.Appendf(nil, "m%d\n", i+1), make([]byte, 100*(i%90))...)
				switch err := l.Put(context.Background(), wire.Message{Time: base, Body: body}); {
				case err == nil:
					accepted++
				case errors.Is(err, ErrFull) || errors.Is(err, ErrDropped):
					refused++
				default:
					t.Fatal(err)
				}
				if st := l.Stats(); st.DiskBytes > limit {
					t.Fatalf("after %d messages: %d bytes", i+1, st.DiskBytes)
				}
			}
			st := l.Stats()
			if sum := l.diskUse(); st.DiskBytes < limit/2 || sum > limit*5/4 { // a file is longer than what is used of it
				t.Errorf("%d bytes by the lane's account, files of %d", st.DiskBytes, sum)
			}
			if (o == DropOldest) != (refused == 0) {
				t.Errorf("%d accepted, %d refused", accepted, refused)
			}
			if st.Accepted != uint64(accepted) || st.Backlog+st.Dropped[wire.ReasonOverflow] != uint64(st.Next-1) {
				t.Errorf("%+v", st)
			}
			l.crash()
			l.drain(1)
			// All is delivered: there is room for as much again.
			l.welcome(storeA, wire.Match{})
			l.ack(st.Next - 1)
			l.waitFor("the room", func(st Stats) bool { return st.DiskBytes < limit/4 })
			for range 50 {
				if err := l.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, 4000)}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	l := openLane(t, func(c *Config) { c.MaxBytes = MinMaxBytes })
	if err := l.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, 300<<10)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a message that can never have room: %v", err)
	}
}

// The caps hold also where many put at once while the writer is busy.
func TestCapsHoldForManyProducers(t *testing.T) {
	for _, c := range []struct {
		overflow Overflow
		size     int
		messages uint64
	}{{Block, 60 << 10, 40}, {DropOldest, 60 << 10, 40}, {Block, 100, 10}, {DropOldest, 100, 10}} {
		l := openLane(t, func(cfg *Config) { cfg.MaxBytes, cfg.Overflow, cfg.MaxMessages = MinMaxBytes, c.overflow, c.messages })
		l.welcome(storeA, wire.Match{})
		var running sync.WaitGroup
		for range 32 {
			running.Go(func() {
				for range 8 {
					if err := l.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, c.size)}); err != nil {
						t.Error(err)
					}
					if st := l.Stats(); st.DiskBytes > MinMaxBytes || st.Backlog > c.messages {
						t.Errorf("%s: %d bytes, %d messages", c.overflow, st.DiskBytes, st.Backlog)
					}
					if c.overflow == Block {
						l.Ack(l.epoch(), l.Streams()[0].Next-1)
					}
				}
			})
		}
		running.Wait()
	}
}

func TestFreeSpaceIsKeptFree(t *testing.T) {
	free := new(atomic.Int64)
	before := freeOf
	freeOf = func(string) (int64, error) { return free.Load(), nil }
	defer func() { freeOf = before }()
	for _, o := range []Overflow{Reject, Block, DropOldest, DropNewest} {
		t.Run(o.String(), func(t *testing.T) {
			free.Store(1 << 30)
			l := openLane(t, func(c *Config) { c.FreeSpace, c.Overflow = 1<<20, o })
			l.put(1, 2)
			free.Store(1 << 10)
			time.Sleep(roomPause)
			ctx, cancel := context.WithTimeout(context.Background(), 2*roomPause)
			defer cancel()
			var err error
			for i := 0; err == nil && i < 20; i++ { // the floor is looked at from time to time
				if o == Block {
					err = l.Put(ctx, msg("x"))
				} else {
					err = l.Put(context.Background(), msg("x"))
				}
			}
			want := map[Overflow]error{Reject: ErrFull, Block: context.DeadlineExceeded, DropNewest: ErrDropped}[o]
			if !errors.Is(err, want) {
				t.Errorf("put: %v", err)
			}
			st := l.Stats()
			if o == DropOldest && (st.Dropped[wire.ReasonOverflow] == 0 || st.Backlog > 2) {
				t.Errorf("%+v", st)
			}
			if st.Failing == nil {
				t.Error("the stats do not say that the disk is nearly full")
			}
			l.welcome(storeA, wire.Match{})
			l.ack(1) // goes on all the same
			free.Store(1 << 30)
			if o == Reject || o == DropNewest { // they do not wait: somebody has to ask
				l.waitFor("room", func(Stats) bool { l.Put(context.Background(), msg("y")); return l.Stats().Failing == nil })
			}
			if err := l.Put(context.Background(), msg("z")); err != nil {
				t.Errorf("after there was room again: %v", err)
			}
		})
	}
}

func TestBlockWaitsOnAFullDiskToo(t *testing.T) {
	l := openLane(t, func(c *Config) { c.Overflow = Block })
	l.put(1, 1)
	l.faults.fail(beforeCommit, errRoom)
	l.faults.fail(onCreate, errRoom)
	l.put(2, 2)
	l.want(1, "m1", "m2")
}

func TestDropOldestMakesRoomOnAFullDisk(t *testing.T) {
	l := openLane(t, func(c *Config) { c.Overflow, c.SegmentSize = DropOldest, minSegmentSize })
	for i := range 6 {
		if err := l.Put(context.Background(), wire.Message{Time: base, Body: append(fmt.Appendf(nil, "m%d\n", i+1), make([]byte, 20<<10)...)}); err != nil {
			t.Fatal(err)
		}
	}
	l.faults.fail(beforeCommit, errRoom)
	l.put(7, 7)
	if st := l.Stats(); st.Dropped[wire.ReasonOverflow] == 0 || st.Dropped[wire.ReasonOverflow] > 4 {
		t.Errorf("%+v", st)
	}
	if got := l.drain(1); got[len(got)-1].body != "m7" {
		t.Errorf("%v", got)
	}
}

func TestIntervalIsSyncedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t, func(c *Config) { c.Interval = time.Second })
		start := l.Stats().Commits
		for i := range 50 {
			if err := l.Put(context.Background(), msg(fmt.Sprint("m", i+1))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if st := l.Stats(); st.Next != 1 || st.Commits != start {
			t.Fatalf("written before the interval was over: %+v", st)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if st := l.Stats(); st.Next != 51 || st.Commits != start+1 {
			t.Fatalf("%+v", st)
		}
		// Flush and Close do not wait for the interval.
		l.put(51, 51)
		begin := time.Now()
		l.welcome(storeA, wire.Match{})
		go func() {
			for l.Stats().Next < 52 {
				time.Sleep(time.Millisecond)
			}
			l.Ack(l.epoch(), 51)
		}()
		if err := l.Flush(context.Background()); err != nil || time.Since(begin) > time.Second/2 {
			t.Errorf("flush: %v after %s", err, time.Since(begin))
		}
		l.put(52, 52)
		l.reopen()
		l.want(52, "m52")
		// A disk that is full for a while: what was taken is kept until it is not.
		l.faults.fail(beforeCommit, errRoom)
		l.faults.fail(onCreate, errRoom, errRoom)
		l.put(53, 53)
		time.Sleep(3 * time.Second)
		l.want(52, "m52", "m53")
	})
}

// What waits behind a group that found no room is written by Close as well.
func TestCloseWritesAllThatWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t, func(c *Config) { c.Interval = time.Second })
		l.faults.fail(beforeCommit, errRoom)
		l.put(1, 2)
		time.Sleep(time.Second + time.Millisecond) // it is tried and kept
		l.put(3, 4)
		l.reopen()
		l.want(1, "m1", "m2", "m3", "m4")
	})
}

func TestRule14MaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t, func(c *Config) { c.MaxAge, c.SegmentSize = time.Hour, minSegmentSize })
		body := func(n int) wire.Message {
			return wire.Message{Time: base, Body: append(fmt.Appendf(nil, "m%d\n", n), make([]byte, 9000)...)}
		}
		for i := range 30 { // a message a minute, over several segments
			if err := l.Put(context.Background(), body(i+1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(35*time.Minute + time.Second)
		synctest.Wait()
		// 65 minutes after the first: 1 to 6 are older than an hour.
		if st := l.Stats(); st.Dropped[wire.ReasonExpired] != 6 || st.Backlog != 24 {
			t.Fatalf("%+v", st)
		}
		l.crash() // the process is not the clock
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if st := l.Stats(); st.Dropped[wire.ReasonExpired] < 15 || st.Dropped[wire.ReasonExpired] > 16 { // what passed since the last commit is in doubt
			t.Fatalf("%+v", st)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if st := l.Stats(); st.Dropped[wire.ReasonExpired] != 30 || st.Backlog != 0 || st.DiskBytes > 2*minSegmentSize {
			t.Fatalf("%+v", st)
		}
		l.put(31, 31)
		if got := fmt.Sprint(l.drain(30)); got != "[expired m31]" {
			t.Error(got)
		}
	})
}

// Neither a later commit nor tombstones make a message younger that came with
// the commit which made its segment.
func TestRule14ASegmentsFirstMessageAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t, func(c *Config) {
			c.MaxAge, c.SegmentSize, c.MaxMessages, c.Overflow = 10*time.Minute, minSegmentSize, 2, DropNewest
		})
		for _, size := range []int{60 << 10, 1} { // the first fills a segment
			if err := l.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, size)}); err != nil {
				t.Fatal(err)
			}
		}
		for range 9 {
			time.Sleep(time.Minute)
			if err := l.Put(context.Background(), msg("x")); !errors.Is(err, ErrDropped) {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if st := l.Stats(); st.Dropped[wire.ReasonExpired] != 2 || st.Backlog != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A batch expires by its newest message, and what Put took together is one batch.
// Random ages and restarts: nothing goes before its time, all goes after it.
func TestRule14NothingExpiresBeforeItsTime(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 14))
			l := openLane(t, func(c *Config) { c.MaxAge, c.SegmentSize = 10*time.Minute, minSegmentSize })
			var at []time.Time
			for range 120 {
				time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
				var list []wire.Message
				for range 1 + r.IntN(3) {
					list = append(list, wire.Message{Time: base.Add(time.Duration(r.Int64()) % (100 * time.Hour)), Body: make([]byte, r.IntN(9000))})
				}
				if err := l.Put(context.Background(), list...); err != nil {
					t.Fatal(err)
				}
				for range list {
					at = append(at, time.Now())
				}
				if r.IntN(20) == 0 {
					l.crash()
				}
				synctest.Wait()
				for n, it := range l.drain(1) {
					age := time.Since(at[n])
					if it.reason != 0 && age < 10*time.Minute {
						t.Fatalf("number %d expired at the age of %s", n+1, age)
					}
					if it.reason == 0 && age > 12*time.Minute {
						t.Fatalf("number %d is still there at the age of %s", n+1, age)
					}
				}
			}
		})
	}
}

// clockwork turns the lane's clock, which is the writer's.
func (l *lane) clockwork(turn func(*clock)) {
	l.t.Helper()
	if err := l.do(context.Background(), func(*change) (bool, error) { turn(&l.clock); return false, nil }); err != nil {
		l.t.Fatal(err)
	}
}

// What passed while the machine was off counts only between two moments at which
// a collector agreed with its clock.
func TestRule14AcrossAReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t, func(c *Config) { c.MaxAge = time.Hour })
		reboot := func() {
			l.crash()
			l.Queue.Close()
			l.open()
			l.clockwork(func(c *clock) { c.rebooted = true })
		}
		// off lets the machine be off: its clock goes on, the lane's age does not.
		off := func(d time.Duration) {
			time.Sleep(d)
			l.clockwork(func(c *clock) { c.start = time.Now() })
		}
		expired := func() uint64 {
			synctest.Wait()
			return l.Stats().Dropped[wire.ReasonExpired]
		}
		confirm := func(skew time.Duration) {
			if err := l.Confirm(context.Background(), time.Now().Add(skew)); err != nil {
				t.Fatal(err)
			}
		}
		l.put(1, 1)
		confirm(10 * 365 * 24 * time.Hour) // a clock that nobody agrees with
		reboot()
		off(30 * time.Minute)
		confirm(time.Second) // the first time that counts: nothing is known of before
		if n := expired(); n != 0 {
			t.Fatalf("%d expired by a clock in doubt", n)
		}
		reboot()
		off(50 * time.Minute)
		if n := expired(); n != 0 {
			t.Fatalf("%d expired before a collector was heard", n)
		}
		confirm(-time.Hour)
		if n := expired(); n != 0 {
			t.Fatalf("%d expired although the collector disagrees", n)
		}
		confirm(time.Minute)
		if n := expired(); n != 0 {
			t.Fatalf("%d expired at the age of 50 minutes", n)
		}
		reboot()
		off(11 * time.Minute)
		confirm(0)
		if n := expired(); n != 1 {
			t.Errorf("%d expired at the age of 61 minutes", n)
		}
	})
}

// Room comes back when all is delivered, and under traffic when nearly all is.
func TestTheRoomOfWhatIsDeliveredComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLane(t)
		l.welcome(storeA, wire.Match{})
		body := wire.Message{Time: base, Body: make([]byte, 200<<10)}
		put := func(n int) {
			t.Helper()
			for range n {
				if err := l.Put(context.Background(), body); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(25)
		if use := l.Stats().DiskBytes; use < deliveredSize {
			t.Fatalf("%d bytes", use)
		}
		l.ack(25)
		if use := l.Stats().DiskBytes; use > 1<<20 {
			t.Errorf("all is delivered, and the lane takes %d bytes", use)
		}
		for n := wire.Seq(26); n <= 225; n++ { // the last one is always on its way
			time.Sleep(100 * time.Millisecond)
			put(1)
			l.Ack(l.epoch(), n-1)
		}
		if use := l.Stats().DiskBytes; use > 3*2*deliveredSize {
			t.Errorf("nearly all of 40 MiB is delivered, and the lane takes %d bytes", use)
		}
	})
}
