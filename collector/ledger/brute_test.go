package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// brute is the store's side kept number by number, as the design states the
// rules: slow, and too simple to be wrong in the same way as Agent.
type brute struct {
	streams   []*bruteStream
	live      wire.Session
	told      map[wire.Epoch]bool // opened by the live session
	count     int                 // streams in the live session's hello
	lastFull  map[wire.Epoch]bool // opened in or since the last session that opened all it told of
	announced map[cell]bool
}

type cell struct {
	inc wire.Incarnation
	n   wire.Seq
}

type bruteStream struct {
	epoch wire.Epoch
	base  wire.Seq
	incs  []wire.Incarnation // of numbers 1..W
	fps   []wire.Fingerprint // of numbers 1..W
	line  []wire.Incarnation // of all numbers announced
}

func (s *bruteStream) w() wire.Seq { return wire.Seq(len(s.incs)) }

// numbers writes a history out, number by number.
func numbers(h wire.History, last wire.Seq) (out []wire.Incarnation) {
	for n := wire.Seq(1); n <= last; n++ {
		var inc wire.Incarnation
		for _, b := range h {
			if b.First <= n {
				inc = b.Incarnation
			}
		}
		out = append(out, inc)
	}
	return out
}

func bruteCommon(a, b []wire.Incarnation) wire.Seq {
	n := min(len(a), len(b))
	for n > 0 && a[n-1] != b[n-1] {
		n--
	}
	return wire.Seq(n)
}

func (b *brute) match(told *wire.StreamState) (m wire.Match) {
	mine := numbers(told.Boundaries, told.Last())
	var best *bruteStream
	rank := func(s *bruteStream) (r [3]int) {
		c := bruteCommon(mine, s.incs)
		r[0] = int(c)
		if c == s.w() {
			r[1] = 1
		}
		if s.epoch == told.Epoch {
			r[2] = 1
		}
		return r
	}
	for _, s := range b.streams {
		if bruteCommon(mine, s.incs) == 0 && s.epoch != told.Epoch {
			continue
		}
		x := rank(s)
		if best == nil {
			best = s
		} else if y := rank(best); slices.Compare(x[:], y[:]) > 0 {
			best = s
		}
	}
	if best == nil {
		return m
	}
	m = wire.Match{Found: true, Epoch: best.epoch, W: best.w(), Common: bruteCommon(mine, best.incs)}
	if m.Common > 0 {
		m.FPCommon = best.fps[m.Common-1]
	}
	if n := min(m.Common, told.Acked); n > 0 {
		m.FPAcked = best.fps[n-1]
	}
	next := numbers(told.Boundaries, told.Next)
	for _, s := range b.streams {
		c := told.Last()
		if m.Common == c && s.w() > c && bruteCommon(mine, s.incs) == c && s.incs[c] == next[c] {
			m.Beyond = true
		}
	}
	return m
}

func (b *brute) lookup(_ wire.Lane, e wire.Epoch, n wire.Seq) wire.Fingerprint {
	s := b.stream(e)
	if n <= s.base || n > s.w() {
		panic(fmt.Sprintf("asked for number %d of a stream with %d to %d", n, s.base+1, s.w()))
	}
	return s.fps[n-1]
}

func (b *brute) stream(e wire.Epoch) *bruteStream {
	for _, s := range b.streams {
		if s.epoch == e {
			return s
		}
	}
	return nil
}

func (b *brute) settled(c cell) bool {
	for _, s := range b.streams {
		if c.n <= s.w() && s.incs[c.n-1] == c.inc {
			return true
		}
	}
	return false
}

// open returns how many numbers are announced and not settled, and which of them
// no current stream explains.
func (b *brute) open() (backlog uint64, unexplained map[cell]bool) {
	unexplained = map[cell]bool{}
	for c := range b.announced {
		if b.settled(c) {
			continue
		}
		backlog++
		unexplained[c] = true
		for _, s := range b.streams {
			if b.lastFull[s.epoch] && c.n > s.w() && int(c.n) <= len(s.line) && s.line[c.n-1] == c.inc {
				delete(unexplained, c)
			}
		}
	}
	return backlog, unexplained
}

// twin is a copy of the agent's folder.
type twin struct {
	epoch wire.Epoch
	hist  wire.History
	fps   []wire.Fingerprint
	acked wire.Seq
}

func (c *twin) next() wire.Seq { return wire.Seq(len(c.fps)) + 1 }
func (c *twin) clone() *twin {
	d := *c
	d.hist, d.fps = slices.Clone(c.hist), slices.Clone(c.fps)
	return &d
}

func newInc() wire.Incarnation { return wire.Incarnation{ID: wire.NewID()} }
func newEpoch() wire.Epoch     { return wire.Epoch{ID: wire.NewID()} }

func (c *twin) start() {
	last := c.next() - 1
	h := c.hist.Upto(last)
	if len(h) > 0 && last >= h[len(h)-1].First || len(h) == 0 {
		c.hist = h.Begin(newInc(), c.next())
		return
	}
	c.hist = h[:len(h)-1].Begin(newInc(), c.next())
}

// TestRandomHistories plays agents that restart, are copied, restored and forked
// against Agent and against brute, and compares all answers and the ledger.
func TestRandomHistories(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 80
	}
	seen := map[string]int{}
	for seed := range rounds {
		playHistory(t, uint64(seed), seen)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, what := range []string{"fork", "adopt", "duplicate", "gap", "straddle", "unexplained", "beyond", "other fingerprint", "conflict", "appended"} {
		if seen[what] == 0 {
			t.Errorf("no history had a %s", what)
		}
	}
	t.Log(seen)
}

func playHistory(t *testing.T, seed uint64, seen map[string]int) {
	r := rand.New(rand.NewPCG(seed, 1))
	const lane = wire.DefaultLane
	a := &Agent{}
	replay := &Agent{}
	b := &brute{announced: map[cell]bool{}, lastFull: map[wire.Epoch]bool{}}
	first := &twin{epoch: newEpoch()}
	first.start()
	twins := []*twin{first}
	clock := time.Unix(1_700_000_000, 0)
	var on *twin // the one that is connected
	for range 30 + r.IntN(60) {
		clock = clock.Add(time.Second)
		c := twins[r.IntN(len(twins))]
		switch r.IntN(12) {
		case 0, 1: // messages
			for range 1 + r.IntN(5) {
				c.fps = append(c.fps, wire.Fingerprint(r.Uint64()|1))
			}
			if c == on && b.told[c.epoch] {
				a = a.Clone()
				e := Announced{lane, c.epoch, c.next()}
				a.ApplyAnnounce(e)
				replay.ApplyAnnounce(e)
				b.announce(c)
			}
		case 2: // restart
			if c == on {
				on = nil
			}
			c.start()
		case 3: // copy, and sometimes the copy is opened
			if len(twins) < 4 {
				d := c.clone()
				d.start()
				twins = append(twins, d)
			}
		case 4: // an older state of the folder, and the process opens it
			if n := c.next() - 1; n > 0 && r.IntN(3) == 0 {
				if c == on {
					on = nil
				}
				k := wire.Seq(r.Uint64N(uint64(n)))
				c.fps, c.hist, c.acked = c.fps[:k], c.hist.Upto(k), min(c.acked, k)
				if r.IntN(4) > 0 || len(c.hist) == 0 {
					c.start()
				}
			}
		case 5, 6, 7: // hello, welcome, resume
			on = c
			st := wire.StreamState{Lane: lane, Epoch: c.epoch, Next: c.next(), Acked: c.acked, Boundaries: c.hist}
			h := wire.Hello{Instance: wire.Instance{ID: wire.NewID()}, LastSession: uint64(r.IntN(3))}
			got, want := a.Match(&st, b.lookup), b.match(&st)
			if got != want {
				t.Errorf("match is %+v, want %+v", got, want)
				return
			}
			a = a.Clone()
			g := a.Hello(&h, 1, "", clock, wire.NewID())
			if g.Session.Number <= a.live.Number || g.Session.Number <= h.LastSession {
				t.Errorf("session %d after %d and %d", g.Session.Number, a.live.Number, h.LastSession)
			}
			a.ApplyHello(g)
			replay.ApplyHello(g)
			b.live, b.told, b.count = g.Session, map[wire.Epoch]bool{}, 1
			if r.IntN(5) == 0 {
				on = nil // cut before the resume
				continue
			}
			base := got.Common
			at := base + 1
			if base > 0 && got.FPCommon != c.fps[base-1] { // the memory went back, see the model's agent
				seen["other fingerprint"]++
				if at = c.acked + 1; at == 1 || at > base || c.fps[at-2] != got.FPAcked {
					at = c.hist.Start(base)
				}
			}
			switch {
			case got.Beyond || at <= base:
				if got.Beyond {
					seen["beyond"]++
				}
				c.hist = c.hist.Begin(newInc(), at)
				c.epoch = got.Epoch
				if base = min(base, at-1); base < got.W {
					c.epoch = newEpoch()
				}
			case !got.Found:
			case got.Common == got.W:
				if c.epoch != got.Epoch {
					seen["adopt"]++
				}
				c.epoch = got.Epoch
			default:
				seen["fork"]++
				c.epoch = newEpoch()
			}
			c.acked = base
			res := wire.Resume{Lane: lane, Epoch: c.epoch, Base: base, Next: c.next(), Boundaries: c.hist}
			if r.IntN(10) == 0 {
				bad := res
				bad.Base++
				if _, err := a.Resume(&bad, b.lookup); err == nil {
					t.Errorf("a resume after %d is taken, W is %d", bad.Base, base)
				}
				seen["conflict"]++
			}
			e, err := a.Resume(&res, b.lookup)
			if err != nil {
				t.Errorf("resume: %v", err)
				return
			}
			a.ApplyResume(e)
			replay.ApplyResume(e)
			b.resume(c, base)
		default: // an entry: of one incarnation, from about W
			if on == nil || on.next() == 1 {
				continue
			}
			s := b.stream(on.epoch)
			from := wire.Seq(max(1, int(s.w())+1-r.IntN(6)+r.IntN(6)))
			if from >= on.next() {
				continue
			}
			last := min(on.hist.End(from, on.next()-1), from+wire.Seq(r.IntN(6)))
			e := wire.Entry{From: from, To: last, Incarnation: on.hist.At(from)}
			switch {
			case from > s.w()+1:
				seen["gap"]++
			case last <= s.w():
				seen["duplicate"]++
			case from <= s.w():
				seen["straddle"]++
			default:
				seen["appended"]++
			}
			before := a
			a = a.Clone()
			begin := a.Append(lane, on.epoch, &e)
			if want := from <= s.w()+1 && last > s.w(); (begin == s.w()+1) != want || begin != 0 && !want {
				t.Errorf("entry %d to %d at W %d counts from %d", from, last, s.w(), begin)
			}
			if begin > 0 {
				ev := Settled{Time: clock, Lane: lane, Epoch: on.epoch, From: begin, To: last, Incarnation: e.Incarnation, Fingerprint: on.fps[last-1], Doubled: r.IntN(5) == 0}
				if r.IntN(4) == 0 {
					ev.Reason = wire.ReasonExpired
				}
				w := before.Stream(lane, on.epoch).W
				if r.IntN(6) == 0 { // a failed commit: the clone is dropped
					a.ApplyEntry(ev)
					a = before.Clone()
				}
				a.ApplyEntry(ev)
				replay.ApplyEntry(ev)
				if before.Stream(lane, on.epoch).W != w {
					t.Error("changing a clone changed the original")
				}
				for n := begin; n <= last; n++ {
					s.incs, s.fps = append(s.incs, e.Incarnation), append(s.fps, on.fps[n-1])
				}
			}
			if w := a.Stream(lane, on.epoch).W; w != s.w() {
				t.Errorf("W is %d, want %d", w, s.w())
			}
		}
		compare(t, a, b, seen)
		if x, y := a.AppendSnapshot(nil), replay.AppendSnapshot(nil); !bytes.Equal(x, y) {
			t.Error("applying the events again gives another state")
		}
		if t.Failed() {
			return
		}
		if r.IntN(8) == 0 {
			x := a.AppendSnapshot(nil)
			p, rest, err := ParseSnapshot(append(x, "tail"...), SnapshotVersion)
			if err != nil || string(rest) != "tail" || !bytes.Equal(p.AppendSnapshot(nil), x) {
				t.Errorf("snapshot: rest %q, error %v", rest, err)
				return
			}
			a = p
		}
	}
}

func (b *brute) announce(c *twin) {
	s := b.stream(c.epoch)
	s.line = numbers(c.hist, c.next()-1)
	for n, inc := range s.line {
		b.announced[cell{inc, wire.Seq(n + 1)}] = true
	}
}

func (b *brute) resume(c *twin, base wire.Seq) {
	if b.stream(c.epoch) == nil {
		s := &bruteStream{epoch: c.epoch, base: base, incs: numbers(c.hist, base), fps: slices.Clone(c.fps[:base])}
		b.streams = append(b.streams, s)
	}
	b.told[c.epoch] = true
	if len(b.told) >= b.count {
		b.lastFull = map[wire.Epoch]bool{c.epoch: true}
	}
	b.announce(c)
}

func compare(t *testing.T, a *Agent, b *brute, seen map[string]int) {
	t.Helper()
	backlog, want := b.open()
	got := map[cell]bool{}
	for _, r := range a.Unexplained() {
		for n := r.From; n <= r.To; n++ {
			got[cell{r.Incarnation, n}] = true
		}
	}
	if len(want) > 0 {
		seen["unexplained"]++
	}
	if len(got) != len(want) {
		t.Errorf("%d numbers unexplained, want %d", len(got), len(want))
	}
	for c := range want {
		if !got[c] {
			t.Errorf("number %d of %s is not called unexplained", c.n, c.inc)
		}
	}
	if n := a.Backlog(); n != backlog {
		t.Errorf("backlog %d, want %d", n, backlog)
	}
	for _, s := range a.Streams() {
		o := b.stream(s.Epoch)
		if !slices.Equal(numbers(s.History, s.W), o.incs) {
			t.Errorf("history of %d numbers differs", s.W)
		}
	}
}
