package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// mirror is what a lane should hold, in the plainest form.
type mirror struct {
	entries []mirrorEntry // number n is entries[n-1]
	taken   []wire.StoreID
	store   wire.StoreID
	doubt   wire.Seq
}

type mirrorEntry struct {
	body    string
	batch   int
	reason  wire.Reason
	doubled bool
}

func (m *mirror) next() wire.Seq  { return wire.Seq(len(m.entries) + 1) }
func (m *mirror) acked() wire.Seq { return wire.Seq(len(m.taken)) }

func (m *mirror) ack(w wire.Seq) {
	for wire.Seq(len(m.taken)) < min(w, m.next()-1) {
		m.taken = append(m.taken, m.store)
	}
}

// shown is number n as Next should give it, where oldest is held.
func (m *mirror) shown(n, oldest wire.Seq) string {
	e := m.entries[n-1]
	it := item{body: e.body, reason: e.reason, doubled: e.doubled}
	if n < oldest {
		it.reason, it.doubled = wire.ReasonLostAtStore, n <= m.doubt
	}
	if n <= m.acked() && m.taken[n-1] != m.store {
		it.reason = wire.ReasonStoredIn
	}
	return it.String()
}

// drop tombstones whole batches in the range, or what is not acked of them.
func (m *mirror) drop(from, to wire.Seq) (n uint64) {
	for i := range m.entries {
		e := &m.entries[i]
		whole := wire.Seq(i) >= m.acked() && e.reason == 0
		for j := range m.entries {
			k := wire.Seq(j + 1)
			// A number of the same batch that is acked or dropped needs not be in the range.
			if m.entries[j].batch == e.batch && k > m.acked() && (k < from || k > to) {
				whole = false
			}
		}
		if whole {
			e.reason = wire.ReasonOverflow
			n++
		}
	}
	return n
}

// TestRandomHistories compares a lane with the mirror over random histories of
// puts, faults, acks, drops, refusals, restarts, crashes and welcomes.
func TestRandomHistories(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 8
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { randomHistory(t, seed, 40) })
	}
}

func randomHistory(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 7))
	l := openLane(t, small)
	m := &mirror{}
	var log []string
	batch := 0
	put := func(fault point, fail error) {
		batch++
		var list []wire.Message
		for range 1 + r.IntN(4) {
			body := fmt.Sprint("m", len(m.entries)+len(list)+1, ".", batch)
			size := []int{0, 100, 3000, 9000}[r.IntN(4)]
			list = append(list, wire.Message{Time: base, Body: append([]byte(body+"\n"), make([]byte, size)...)})
		}
		if fail != nil {
			l.faults.fail(fault, fail)
		}
		err := l.Put(context.Background(), list...)
		l.faults.disarm()
		if errors.Is(err, ErrFull) && fail != nil && isSpace(fail) {
			return
		}
		if err != nil {
			t.Fatalf("%v\nput: %v", log, err)
		}
		for _, x := range list {
			m.entries = append(m.entries, mirrorEntry{body: string(x.Body), batch: batch})
		}
	}
	relabel := func(at wire.Seq) {
		m.doubt = m.next() - 1
		for n := at; n < m.next(); n++ {
			m.entries[n-1].doubled = true
		}
	}
	for range steps {
		what := ""
		some := func() wire.Seq { return wire.Seq(r.IntN(len(m.entries) + 1)) }
		switch k := r.IntN(20); {
		case k < 6:
			what = "put"
			put("", nil)
		case k < 7:
			what = "put, sync fails"
			put([]point{beforeCommit, afterCommit}[r.IntN(2)], errDisk)
		case k < 8:
			what = "put, disk full"
			put(beforeCommit, []error{errRoom, syscall.EDQUOT}[r.IntN(2)])
		case k < 11:
			if m.store.IsZero() {
				continue
			}
			w := some()
			what = fmt.Sprint("ack ", w)
			l.ack(w)
			m.ack(w)
		case k < 12:
			from, to := some(), some()
			what = fmt.Sprint("drop ", from, " ", to)
			got, err := l.Drop(context.Background(), from, to, wire.ReasonOverflow)
			if want := m.drop(from, to); err != nil || got != want {
				t.Fatalf("%v\n%s: dropped %d, want %d, %v", log, what, got, want, err)
			}
		case k < 13:
			n := some()
			what = fmt.Sprint("reject ", n)
			if _, err := l.Reject(context.Background(), l.epoch(), n, "no"); err != nil {
				t.Fatalf("%v\n%s: %v", log, what, err)
			}
			if n >= l.Stats().Oldest && m.entries[n-1].reason == 0 {
				m.entries[n-1].reason = wire.ReasonRejected
			}
		case k < 15:
			what = "restart"
			l.reopen()
		case k < 17:
			what = "crash"
			if r.IntN(3) > 0 {
				l.crash()
				break
			}
			what = "crash, disk full"
			if err := l.again(onCreate, errRoom); err != nil {
				t.Fatalf("%v\n%s: %v", log, what, err)
			}
			l.faults.disarm()
		default:
			store := []wire.StoreID{storeA, storeA, storeB}[r.IntN(3)]
			said, epoch := l.Streams()[0], l.epoch()
			a := wire.Match{}
			end := wire.Seq(0)
			forked := false
			switch r.IntN(5) {
			case 0:
				what = "welcome, not found"
			case 1, 2:
				a = l.match(some())
				end = a.W
				what = fmt.Sprint("welcome, W ", end)
			case 3:
				a = l.match(some())
				a.W += 1 + some()
				end, forked = a.Common, true
				what = fmt.Sprint("welcome, fork from ", end)
			case 4:
				a = l.match(said.Next - 1)
				a.W, a.Beyond = said.Next, true
				end, forked = a.Common, true
				what = "welcome, store beyond"
				relabel(said.Next)
			}
			res := l.welcome(store, a)
			if res.Base != end || (res.Epoch != epoch) != forked {
				t.Fatalf("%v\n%s: resume %+v", log, what, res)
			}
			m.store = store
			m.ack(end)
			l.waitFor("acks", func(Stats) bool { return l.Streams()[0].Acked == m.acked() })
		}
		log = append(log, what)
		compare(t, log, l, m)
	}
}

func compare(t *testing.T, log []string, l *lane, m *mirror) {
	t.Helper()
	st := l.Stats()
	if st.Next != m.next() || st.Acked != m.acked() || st.Oldest > st.Acked+1 {
		t.Fatalf("%v\nnext %d, acked %d, oldest %d; want next %d, acked %d", log, st.Next, st.Acked, st.Oldest, m.next(), m.acked())
	}
	oldest := l.snapshot().oldest
	for i, it := range l.drain(1) {
		n := wire.Seq(i + 1)
		if want := m.shown(n, oldest); it.String() != want {
			t.Fatalf("%v\nnumber %d: got %.40q, want %.40q (oldest %d)", log, n, it, want, oldest)
		}
	}
	if got := len(l.drain(1)); got != len(m.entries) {
		t.Fatalf("%v\n%d numbers are shown, want %d", log, got, len(m.entries))
	}
}
