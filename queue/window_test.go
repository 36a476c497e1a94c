package queue

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/wire"
)

// link is a lane's way to a store without a network: hellos until one is taken,
// then everything there is.
type link struct {
	t       *testing.T
	store   collector.Store
	loseAck bool // the lane never hears of what was stored
	upto    int  // how many numbers to deliver, 0: all
}

func (k link) drain(q *lane) (hellos int) {
	k.t.Helper()
	ctx := context.Background()
	var list []wire.Resume
	var grant collector.Grant
	for list == nil {
		if hellos++; hellos > 50 {
			k.t.Fatal("the lane says hello for ever")
		}
		said := q.Streams()
		if err := said[0].Check(); err != nil || len(said[0].Boundaries) > maxTold {
			k.t.Fatalf("a hello of %d boundaries: %v", len(said[0].Boundaries), err)
		}
		h := collector.Hello{Hello: wire.Hello{Protocol: wire.Version, Agent: "pump-7", Instance: wire.Instance{ID: wire.NewID()}, Streams: 1}, Streams: said, Time: time.Now()}
		var err error
		if grant, err = k.store.Hello(ctx, h); err != nil {
			k.t.Fatal(err)
		}
		list, _ = q.Welcome(ctx, k.store.Identity().ID, said, grant.Matches)
	}
	r := list[0]
	session := collector.Session{Agent: "pump-7", Session: grant.Session}
	if err := r.Check(); err != nil {
		k.t.Fatal(err)
	}
	if _, err := k.store.Resume(ctx, session, r); err != nil {
		k.t.Fatal(err)
	}
	stream := collector.Stream{Lane: "default", Epoch: r.Epoch}
	for n := r.Base + 1; k.upto == 0 || int(n) <= k.upto; {
		if a, ok := q.Announce(r.Epoch); ok {
			if err := k.store.Announce(ctx, session, []collector.Announcement{{Stream: stream, Next: a.Next}}); err != nil {
				k.t.Fatal(err)
			}
		}
		e, ok, err := q.Next(r.Epoch, n)
		if err != nil {
			k.t.Fatal(err)
		}
		if !ok {
			break
		}
		answers, err := k.store.Append(ctx, session, []collector.Append{{Stream: stream, Entry: e, Time: time.Now()}})
		if err != nil {
			k.t.Fatal(err)
		}
		n = answers[0].W + 1
		if !k.loseAck {
			q.Ack(r.Epoch, answers[0].W)
		}
	}
	return hellos
}

func (l *lane) putBody(body string) {
	l.t.Helper()
	if err := l.Put(context.Background(), msg(body)); err != nil {
		l.t.Fatal(err)
	}
}

// storedBodies returns what a store holds of all lanes, in order, tombstones by name.
func storedBodies(t *testing.T, s collector.Store) (list []string) {
	t.Helper()
	_, err := s.Read(context.Background(), "", func(e collector.Stored) error {
		if e.Entry.IsTombstone() {
			list = append(list, fmt.Sprintf("%s %d-%d", e.Entry.Reason, e.Entry.From, e.Entry.To))
			return nil
		}
		b, err := e.Entry.Check()
		for r := range b.Records() {
			if r.Seq >= e.Entry.From && r.Seq <= e.Entry.To {
				m, _ := r.Record.Message()
				list = append(list, string(m.Body))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Each opening that accepts something adds a boundary, and a hello has room for
// so many. A lane that was opened more often since the store's W must not take
// "nothing in common with what you told" for an answer: it would send everything
// twice.
func TestRule1HistoryLongerThanAHello(t *testing.T) {
	defer func(n int) { maxTold = n }(maxTold)
	maxTold = 8
	for _, openings := range []int{3, 8, 9, 20, 40} {
		for _, lost := range []bool{false, true} {
			for _, before := range []int{0, 12} {
				t.Run(fmt.Sprintf("openings=%d,acksLost=%t,before=%d", openings, lost, before), func(t *testing.T) {
					store := storetest.NewMemory()
					q := openLane(t, func(c *Config) { c.SegmentSize = minSegmentSize })
					var want []string
					put := func() {
						want = append(want, fmt.Sprint("message ", len(want)))
						q.putBody(want[len(want)-1])
					}
					for range before {
						put()
						q.reopen()
					}
					put()
					link{t: t, store: store, loseAck: lost}.drain(q)
					for range openings {
						q.reopen()
						put()
					}
					q.reopen()
					hellos := link{t: t, store: store, loseAck: lost}.drain(q)
					put()
					link{t: t, store: store}.drain(q)
					if s := q.Stats(); s.Forks > 0 || s.Relabelled > 0 {
						t.Errorf("%d forks, %d relabelled", s.Forks, s.Relabelled)
					}
					if openings > maxTold && hellos < 2 {
						t.Errorf("%d hellos told %d openings", hellos, openings)
					}
					if got := storedBodies(t, store); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("stored %q, want %q", got, want)
					}
				})
			}
		}
	}
}

// A store that was set back has to get again what the lane still has: until it
// does, nothing is deleted that a former ack allowed to delete.
func TestRule3NothingIsDeletedWhileTheStoreIsBehind(t *testing.T) {
	q := openLane(t, func(c *Config) { c.SegmentSize = minSegmentSize })
	var want []string
	big := string(make([]byte, 20<<10)) // three to a segment
	for i := range 12 {
		want = append(want, fmt.Sprint(i, big))
	}
	backup := storetest.NewMemory()
	q.putBody(want[0])
	link{t: t, store: backup}.drain(q) // what the backup has
	for _, b := range want[1:] {
		q.putBody(b)
	}
	// The store goes on to the end, but no turnover has deleted anything yet ...
	q.mu.Lock()
	epoch, store := q.shown.epoch, q.shown.store
	q.mu.Unlock()
	if store != backup.Identity().ID {
		t.Fatal("another store")
	}
	held := q.Stats().Oldest
	q.Ack(epoch, 12)
	// ... and is set back. While the lane sends again, segments turn over.
	link{t: t, store: backup, upto: 2}.drain(q)
	for i := range 6 {
		want = append(want, fmt.Sprint("later ", i, big))
		q.putBody(want[len(want)-1])
	}
	if now := q.Stats().Oldest; now > max(held, 3) {
		t.Errorf("numbers up to %d were deleted; the store has them up to 2", now-1)
	}
	link{t: t, store: backup}.drain(q)
	if got := storedBodies(t, backup); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d stored, want %d", len(got), len(want))
		for i, b := range got {
			t.Logf("%d: %.40q", i, b)
		}
	}
}

func TestAClosedLaneGoesOnInItsFile(t *testing.T) {
	q := openLane(t)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("message ", i))
		q.putBody(want[i])
		q.reopen()
	}
	if n := q.Stats().Segments; n != 1 {
		t.Errorf("%d segments after 20 openings of a lane that was closed in order", n)
	}
	store := storetest.NewMemory()
	link{t: t, store: store}.drain(q)
	if got := storedBodies(t, store); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stored %q", got)
	}
}
