package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// line is a lane's link to a store that keeps what it got of each number.
type line struct {
	*lane
	store  []wire.Reason // of number i+1; 0: data
	flight []flying
	back   []answer
	pos    wire.Seq // the sender's
	rewind int      // how often it went back
}

type flying struct {
	e      wire.Entry
	rewind int
}

type answer struct {
	w      wire.Seq
	gap    bool
	rewind int
}

func (k *line) w() wire.Seq { return wire.Seq(len(k.store)) }

// connect ends what is on its way, both ways, and says hello.
func (k *line) connect() {
	k.t.Helper()
	k.flight, k.back = nil, nil
	m := k.match(k.w())
	m.Found = k.w() > 0
	k.welcome(storeA, m)
	k.pos = k.w() + 1
}

// send sends the next entry; false if there is none.
func (k *line) send() bool {
	k.t.Helper()
	e, ok, err := k.Next(k.epoch(), k.pos)
	if err != nil {
		k.t.Fatal(err)
	}
	if ok {
		k.flight = append(k.flight, flying{e, k.rewind})
		k.pos = e.To + 1
	}
	return ok
}

// receive lets the store take what has arrived; lost leaves a gap.
func (k *line) receive(lost bool) {
	if len(k.flight) == 0 {
		return
	}
	s := k.flight[0]
	k.flight = k.flight[1:]
	switch {
	case lost:
		return
	case s.e.From > k.w()+1:
		k.back = append(k.back, answer{k.w(), true, s.rewind})
		return
	}
	for n := k.w() + 1; n <= s.e.To; n++ {
		k.store = append(k.store, s.e.Reason)
	}
	k.back = append(k.back, answer{k.w(), false, s.rewind})
}

// heed takes an answer as a transport does.
func (k *line) heed() {
	if len(k.back) == 0 {
		return
	}
	a := k.back[0]
	k.back = k.back[1:]
	k.Ack(k.epoch(), a.w)
	if a.gap && a.rewind == k.rewind {
		k.pos, k.rewind = a.w+1, k.rewind+1
	}
	k.pos = max(k.pos, a.w+1)
}

// settle delivers everything and compares the counts.
func (k *line) settle() {
	k.t.Helper()
	for k.connect(); k.send() || len(k.flight)+len(k.back) > 0; {
		k.receive(false)
		k.heed()
	}
	k.ack(k.w())
	want := map[wire.Reason]uint64{}
	for _, reason := range k.store {
		if reason != 0 {
			want[reason]++
		}
	}
	if got := k.Stats().Dropped; fmt.Sprint(got) != fmt.Sprint(want) {
		k.t.Fatalf("the lane says that it has dropped %v, the store says %v of %v", got, want, k.store)
	}
}

func (k *line) drop(from, to wire.Seq) {
	k.t.Helper()
	if _, err := k.Drop(context.Background(), from, to, wire.ReasonOverflow); err != nil {
		k.t.Fatal(err)
	}
}

// large stores messages that go out in entries of their own.
func (l *lane) large(first, last int) {
	l.t.Helper()
	for range last - first + 1 {
		if err := l.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, smallBatch)}); err != nil {
			l.t.Fatal(err)
		}
	}
}

func TestRule8TheAgentCorrectsItsCounts(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(k *line)
		void uint64 // tombstones that came too late
	}{
		{"never sent", func(k *line) { k.drop(1, 4) }, 0},
		{"on its way", func(k *line) {
			k.send()
			k.send()
			k.receive(false)
			k.receive(false)
			k.drop(1, 4)
			k.heed()
			k.heed()
		}, 2},
		{"on its way, and cut off before it got there", func(k *line) { k.send(); k.send(); k.drop(1, 4) }, 0},
		{"there, and the ack is lost", func(k *line) { k.send(); k.receive(false); k.drop(1, 4) }, 1},
		{"there, and both ends", func(k *line) { k.send(); k.receive(false); k.drop(1, 4); k.crash() }, 1},
		{"not there, and both ends", func(k *line) { k.send(); k.drop(1, 4); k.crash() }, 0},
		{"sent by the process before", func(k *line) { k.send(); k.send(); k.receive(false); k.crash(); k.drop(1, 4) }, 1},
		{"sent again after a gap", func(k *line) {
			k.send() // lost
			k.send()
			k.receive(true)
			k.receive(false)
			k.heed()
			k.drop(1, 4)
			k.send() // the tombstone
			k.receive(false)
			k.heed()
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &line{lane: openLane(t)}
			k.large(1, 4)
			k.connect()
			c.run(k)
			k.settle()
			if got := 4 - k.Stats().Dropped[wire.ReasonOverflow]; got != c.void {
				t.Errorf("%d tombstones came too late, want %d", got, c.void)
			}
			k.crash()
			k.settle()
		})
	}
}

// The counts are right as soon as the ack is there, and not only with its commit.
func TestRule8CountsDoNotWaitForTheCommitOfAnAck(t *testing.T) {
	k := &line{lane: openLane(t, func(c *Config) { c.AckDelay = time.Hour })}
	k.large(1, 4)
	k.connect()
	k.send()
	k.receive(false)
	k.drop(1, 4)
	k.heed()
	if got := k.Stats().Dropped[wire.ReasonOverflow]; got != 3 {
		t.Errorf("%d are dropped, want 3", got)
	}
}

// A store that is set back gets the tombstone after all.
func TestRule8AVoidTombstoneCountsOnceItIsNeeded(t *testing.T) {
	k := &line{lane: openLane(t)}
	k.large(1, 4)
	k.connect()
	k.send()
	k.receive(false)
	k.drop(1, 4)
	k.heed()
	k.settle()
	k.reopen()
	k.store = nil
	k.settle()
	if got := k.Stats().Dropped[wire.ReasonOverflow]; got != 4 {
		t.Errorf("%d are dropped, want 4", got)
	}
}

func TestRule8CountsAreTheStoresInRandomHistories(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 8))
			k := &line{lane: openLane(t, small)}
			k.put(1, 1)
			k.connect()
			for range 60 {
				switch n := k.Stats().Next; r.IntN(12) {
				case 0, 1:
					k.put(int(n), int(n)+r.IntN(3))
				case 2:
					k.drop(wire.Seq(r.IntN(int(n))), wire.Seq(r.IntN(int(n)+1)))
				case 3, 4, 5:
					k.send()
				case 6, 7:
					k.receive(r.IntN(8) == 0)
				case 8, 9:
					k.heed()
				case 10:
					if r.IntN(3) == 0 {
						k.connect()
					}
				case 11:
					if r.IntN(4) == 0 {
						k.crash()
						k.connect()
					}
				}
			}
			k.settle()
		})
	}
}

// A disk that takes nothing keeps no tombstone from going out, and the counts right.
func TestRule8CountsAreTheStoresAfterAFailingDisk(t *testing.T) {
	k := &line{lane: openLane(t)}
	k.large(1, 4)
	k.connect()
	k.send() // lost
	k.send()
	k.receive(true)
	k.receive(false)
	k.heed() // goes back to 1
	k.send()
	k.send()
	k.drop(1, 4)
	k.connect() // cut off before any of it got there
	k.faults.fail(beforeCommit, errRoom, errRoom, errRoom)
	if !k.send() {
		t.Fatal("the tombstone does not go out")
	}
	k.faults.disarm()
	k.receive(false)
	k.heed()
	k.settle()
	if got := k.Stats().Dropped[wire.ReasonOverflow]; got != 4 {
		t.Errorf("%d are dropped, want 4", got)
	}
}

// The same with a lane whose limit drops while the link sends.
func TestRule8CountsAreTheStoresUnderLoad(t *testing.T) {
	k := &line{lane: openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 20, DropOldest })}
	k.connect()
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for range 60 {
				if err := k.Put(context.Background(), msg("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { producers.Wait(); close(done) }()
	for sending := true; sending; {
		select {
		case <-done:
			sending = false
		default:
		}
		k.send()
		if len(k.flight) > 2 {
			k.receive(false)
		}
		if len(k.back) > 2 {
			k.heed()
		}
	}
	k.settle()
}

// While tombstones are on their way to disk their numbers do not go out as data;
// they do if that fails for certain.
func TestRule8WhatIsBeingDroppedIsNotHandedOut(t *testing.T) {
	for _, fail := range []error{nil, errRoom} {
		woken := make(chan struct{}, 100)
		l := openLane(t, func(c *Config) { c.Synced = func() { woken <- struct{}{} } })
		l.large(1, 3)
		l.welcome(storeA, wire.Match{})
		l.Next(l.epoch(), 1)
		asked := false
		l.unhook()
		l.unhook = durable.Watch(l.cfg.Dir, func(s durable.Step, path string) error {
			if s != durable.Write && s != durable.Create {
				return nil
			}
			if asked {
				return fail
			}
			asked = true
			for len(woken) > 0 {
				<-woken
			}
			if e, ok, err := l.Next(l.epoch(), 2); ok || err != nil {
				t.Errorf("numbers %d to %d go out while they are dropped, %v", e.From, e.To, err)
			}
			if e, ok, err := l.Next(l.epoch(), 1); !ok || e.To != 1 {
				t.Errorf("number 1 has gone out before, and now %d to %d do, %v", e.From, e.To, err)
			}
			return fail
		})
		n, err := l.Drop(context.Background(), 1, 3, wire.ReasonPurged)
		if (err != nil) != (fail != nil) || !asked {
			t.Fatalf("dropped %d, %v", n, err)
		}
		l.hook()
		if fail == nil {
			l.want(1, "purged", "purged", "purged")
		} else {
			<-woken
			if n := len(l.drain(1)); n != 3 {
				t.Errorf("%d numbers go out", n)
			}
		}
	}
}

// What was made from a state in which a number had no tombstone does not leave once
// a drop of it has begun: else its tombstone would count as certain, and the store has
// the data.
func TestRule8WhatWasMadeBeforeADropDoesNotLeaveAfterIt(t *testing.T) {
	l := openLane(t)
	l.put(1, 4)
	l.welcome(storeA, wire.Match{})
	q := l.Queue
	q.mu.Lock()
	burials := q.burials // as Next reads it, with the state
	q.mu.Unlock()
	e := wire.Entry{From: 1, To: 4}
	must(t, q.do(context.Background(), func(c *change) (bool, error) {
		q.entomb(c, tombstone{span: span{2, 3}, reason: wire.ReasonPurged, time: base})
		return true, nil
	}))
	if q.handOut(&e, burials) {
		t.Error("numbers left as data while their tombstone was being committed")
	}
	q.mu.Lock()
	if q.handed != 0 {
		t.Errorf("handed out up to %d", q.handed)
	}
	q.mu.Unlock()
	l.want(1, "m1", "purged", "purged", "m4")
	for _, tomb := range q.snapshot().tombs {
		if tomb.claim != certain {
			t.Errorf("claim %d of %d to %d", tomb.claim, tomb.from, tomb.to)
		}
	}
}
