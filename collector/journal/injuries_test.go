package journal

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

var (
	injuries   = flag.Int("injuries", 60, "seeded injuries to journals in TestInjuries")
	injuryFrom = flag.Uint64("injury-from", 1, "the first seed of TestInjuries")
	injuryOne  = flag.Uint64("injury", 0, "play only this seed of TestInjuries")
)

// life is a journal's folder and what is known of it from outside.
type life struct {
	dir     string
	clients []*client // of all streams that there are
	records []placed  // of the whole folder, as it was before it was hurt
	content map[string][]byte
	done    bool // it is hurt enough
}

// live makes a real journal: several agents, streams, incarnations, tombstones,
// restarts after a kill or a close, now and then retention.
func live(t *testing.T, r *rand.Rand) *life {
	l := &life{dir: filepath.Join(t.TempDir(), "store"), content: map[string][]byte{}}
	o := Options{Dir: l.dir, SegmentSize: int64(1+r.IntN(12)) << 10, disk: fastDisk{}}
	if r.IntN(4) == 0 {
		o.MaxBytes = 24 << 10
	}
	var live []*client
	for range 1 + r.IntN(3) {
		live = append(live, newClient(fmt.Sprintf("pump-%d", len(live))))
	}
	l.clients = slices.Clone(live)
	for range 1 + r.IntN(4) {
		j := openTest(t, o)
		for _, c := range live {
			if r.IntN(3) == 0 {
				c.history = c.history.Begin(wire.Incarnation{ID: wire.NewID()}, c.next)
			}
			_, err := c.connect(j)
			must(t, err)
		}
		for range 3 + r.IntN(25) {
			c := live[r.IntN(len(live))]
			if r.IntN(6) == 0 {
				to := c.w + wire.Seq(1+r.IntN(3))
				e := wire.Entry{From: c.w + 1, To: to, Incarnation: c.history.At(c.w + 1), Reason: wire.ReasonExpired, Time: testTime}
				c.next = max(c.next, to+1)
				_, err := j.Append(context.Background(), c.session, []collector.Append{{Stream: c.stream(), Entry: e, Time: testTime}})
				must(t, err)
				c.w = to
				continue
			}
			must(t, c.send(j, 1+r.IntN(4)))
		}
		if r.IntN(2) == 0 {
			must(t, j.Close())
		} else {
			kill(t, j)
		}
	}
	l.records = listRecords(t, l.dir)
	names, err := os.ReadDir(l.dir)
	must(t, err)
	for _, e := range names {
		b, err := os.ReadFile(filepath.Join(l.dir, e.Name()))
		must(t, err)
		l.content[e.Name()] = b
	}
	return l
}

// hurt does one injury and says what it was.
func (l *life) hurt(t *testing.T, r *rand.Rand) string {
	ordinals, err := listSegments(l.dir)
	must(t, err)
	if len(ordinals) == 0 {
		return "nothing is left"
	}
	pick := func() uint64 {
		if r.IntN(2) == 0 {
			return ordinals[len(ordinals)-1]
		}
		return ordinals[r.IntN(len(ordinals))]
	}
	n := pick()
	path := segmentPath(l.dir, n)
	b, err := os.ReadFile(path)
	must(t, err)
	name := filepath.Base(path)
	write := func() { must(t, os.WriteFile(path, b, 0o600)) }
	if len(b) == 0 {
		return "an empty file again"
	}
	at := r.IntN(len(b))
	if r.IntN(4) == 0 {
		at = r.IntN(min(len(b), 600)) // the head and its snapshot
	}
	switch r.IntN(14) {
	case 0, 1, 2:
		for range 1 + r.IntN(4) {
			b[at] ^= 1 << r.IntN(8)
			at = r.IntN(len(b))
		}
		write()
		return "bits flipped in " + name
	case 3, 4:
		size := []int{64, 512, 4096}[r.IntN(3)]
		from := at / size * size
		clear(b[from:min(len(b), from+size)])
		write()
		return fmt.Sprintf("%d bytes zeroed in %s at %d", size, name, from)
	case 5:
		b = b[:at]
		write()
		return fmt.Sprintf("%s cut to %d bytes", name, at)
	case 6:
		must(t, os.Remove(path))
		return name + " deleted"
	case 7:
		other := segmentPath(l.dir, pick())
		c, err := os.ReadFile(other)
		must(t, err)
		must(t, os.WriteFile(other, b, 0o600))
		b = c
		write()
		return name + " and " + filepath.Base(other) + " exchanged"
	case 8:
		foreign := t.TempDir()
		j := openTest(t, Options{Dir: foreign})
		c := newClient("pump-0")
		must(t, c.sendAgain(j))
		must(t, j.Close())
		f, err := os.ReadFile(segmentPath(foreign, 1))
		must(t, err)
		if r.IntN(2) == 0 {
			path = segmentPath(l.dir, n+uint64(r.IntN(3)))
		}
		must(t, os.WriteFile(path, f, 0o600))
		return "another store's segment as " + filepath.Base(path)
	case 9:
		other := []string{markName, removedName, identityName}[r.IntN(3)]
		path = filepath.Join(l.dir, other)
		if b, err = os.ReadFile(path); err != nil || len(b) == 0 {
			return "no " + other
		}
		if r.IntN(2) == 0 {
			must(t, os.Remove(path))
			return other + " deleted"
		}
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		if r.IntN(2) == 0 {
			clear(b)
		}
		write()
		return other + " damaged"
	case 10:
		b = append(b, bytes.Repeat([]byte{0xff}, r.IntN(5000))...)
		write()
		return "something behind the end of " + name
	case 11:
		k := r.IntN(len(b) - at)
		b = append(b[:at:at], append(bytes.Repeat([]byte{7}, r.IntN(200)), b[at+k:]...)...)
		write()
		return fmt.Sprintf("%d bytes of %s at %d are others", k, name, at)
	case 12:
		to := segmentPath(l.dir, n+uint64(1+r.IntN(3)))
		l.done = true // what only a copy has is not looked for
		must(t, os.WriteFile(to, b, 0o600))
		return name + " copied to " + filepath.Base(to)
	default:
		write()
		must(t, os.WriteFile(path, nil, 0o600))
		return name + " emptied"
	}
}

// intact reports whether a record's bytes stand in some segment's file where they
// stood.
func (l *life) intact(t *testing.T, p *placed, now map[string][]byte) bool {
	was := l.content[p.file][p.off:p.end]
	for name, b := range now {
		if strings.HasSuffix(name, suffix) && int64(len(b)) >= p.end && bytes.Equal(b[p.off:p.end], was) {
			return true
		}
	}
	return false
}

// torn takes back the commits at the end of which a part is destroyed, or may be,
// because what comes before is: where no mark vouches for them they are a torn
// tail.
func (l *life) torn(whole []bool) {
	for end := len(whole); end > 0; {
		begin, hurt := end-1, !whole[end-1]
		for begin > 0 && !l.records[begin-1].last {
			begin--
			hurt = hurt || !whole[begin]
		}
		if !hurt && (begin == 0 || whole[begin-1]) {
			return
		}
		clear(whole[begin:end])
		end = begin
	}
}

// anothers reports whether nothing in a folder tells any more that it was not
// another store's.
func (l *life) anothers(now map[string][]byte) bool {
	if bytes.Equal(now[identityName], l.content[identityName]) {
		return false
	}
	own, foreign := false, false
	was, err := parseHead(l.content[l.records[0].file])
	for name, b := range now {
		if h, herr := parseHead(b); strings.HasSuffix(name, suffix) && err == nil && herr == nil {
			own = own || h.store == was.store
			foreign = foreign || h.store != was.store
		}
	}
	return foreign && !own
}

// number is one number of one stream.
type number struct {
	epoch wire.Epoch
	n     wire.Seq
}

// served reads all and checks every body: nothing wrong, nothing twice.
func (l *life) served(t *testing.T, what string, read func(context.Context, collector.Cursor, func(collector.Stored) error) (collector.Cursor, error)) (map[number]bool, error) {
	t.Helper()
	got := map[number]bool{}
	_, err := read(context.Background(), "", func(s collector.Stored) error {
		i := slices.IndexFunc(l.clients, func(c *client) bool { return c.epoch == s.Stream.Epoch && c.id == s.Agent })
		if i < 0 {
			t.Errorf("%s: an entry of %s, epoch %s, which nobody sent", what, s.Agent, s.Stream.Epoch)
			return nil
		}
		b, err := s.Entry.Check()
		if err != nil {
			t.Errorf("%s: an entry of %s does not check: %v", what, s.Agent, err)
			return nil
		}
		for n := s.Entry.From; n <= s.Entry.To; n++ {
			if got[number{s.Stream.Epoch, n}] {
				t.Errorf("%s: number %d of %s comes twice", what, n, s.Agent)
			}
			got[number{s.Stream.Epoch, n}] = true
		}
		if s.Entry.IsTombstone() {
			return nil
		}
		for rec, err := range b.Records() {
			if err != nil {
				t.Errorf("%s: %v", what, err)
				return nil
			}
			if m, err := rec.Record.Message(); err != nil || string(m.Body) != l.clients[i].body(rec.Seq) {
				t.Errorf("%s: number %d of %s is %q, %v", what, rec.Seq, s.Agent, m.Body, err)
			}
		}
		return nil
	})
	return got, err
}

// tallyOf counts what the runs have shown.
type tallyOf struct {
	seeds, numbers, intact, served, opened, memory, resent, forks int
	kinds                                                         map[string]int
}

// TestInjuries hurts real journals, by seeds, and judges from outside: nothing
// panics; nothing wrong and nothing twice is served; all that is intact is served;
// no watermark falls below anything that is intact; agents that send again are
// stored once; and repair makes of it a journal in which nothing is damaged and
// only numbers are missing.
func TestInjuries(t *testing.T) {
	sum := tallyOf{kinds: map[string]int{}}
	first, count := *injuryFrom, *injuries
	if *injuryOne > 0 {
		first, count = *injuryOne, 1
	}
	if *injuryOne == 0 {
		for _, s := range []uint64{3000, 3213, 5652, 8532} { // were wrong once
			injure(t, s, &sum)
		}
	}
	for s, end := first, first+uint64(count); s < end && !t.Failed(); s += 100 {
		t.Run(fmt.Sprint(s), func(t *testing.T) { // what it leaves is removed after each hundred
			for k := s; k < min(s+100, end) && !t.Failed(); k++ {
				injure(t, k, &sum)
			}
		})
	}
	t.Logf("%d journals hurt: %d of %d numbers lie in intact records, %d of these served; %d opened by themselves, %d asked for repair because their memory was gone; %d numbers sent again, %d streams parted",
		sum.seeds, sum.intact, sum.numbers, sum.served, sum.opened, sum.memory, sum.resent, sum.forks)
	if *injuryOne > 0 {
		t.Log(sum.kinds)
	}
}

func injure(t *testing.T, s uint64, sum *tallyOf) {
	r := rand.New(rand.NewPCG(s, 0))
	l := live(t, r)
	var what []string
	for k := 1 + r.IntN(3); k > 0 && !l.done; k-- {
		what = append(what, l.hurt(t, r))
	}
	defer func() {
		if p := recover(); p != nil || t.Failed() {
			t.Errorf("seed %d: %s; panic %v\nreplay: go test ./collector/journal -run TestInjuries -injury %d", s, strings.Join(what, "; "), p, s)
		}
	}()
	sum.seeds++
	for _, w := range what {
		sum.kinds[w]++
	}
	now := map[string][]byte{}
	names, err := os.ReadDir(l.dir)
	must(t, err)
	for _, e := range names {
		b, err := os.ReadFile(filepath.Join(l.dir, e.Name()))
		must(t, err)
		now[e.Name()] = b
	}
	if l.anothers(now) {
		return
	}
	whole := make([]bool, len(l.records))
	for i := range l.records {
		whole[i] = l.intact(t, &l.records[i], now)
	}
	if !bytes.Equal(now[markName], l.content[markName]) {
		l.torn(whole)
	}
	// What is intact, and how far each stream is known to go by that.
	intact := map[number]bool{}
	top, destroyed := map[wire.Epoch]wire.Seq{}, map[wire.Epoch]bool{}
	hurt := false
	for i := range l.records {
		p := &l.records[i]
		v, entry := p.event.(*settled)
		ok := whole[i]
		hurt = hurt || !ok
		if !entry {
			continue
		}
		sum.numbers += int(v.entry.To - v.entry.From + 1)
		destroyed[v.stream.Epoch] = destroyed[v.stream.Epoch] || !ok
		if ok {
			top[v.stream.Epoch] = max(top[v.stream.Epoch], v.entry.To)
			for n := v.entry.From; n <= v.entry.To; n++ {
				intact[number{v.stream.Epoch, n}] = true
			}
		}
	}
	// Of a stream of which nothing was destroyed all is known, also what retention has
	// removed.
	for _, c := range l.clients {
		if !destroyed[c.epoch] {
			top[c.epoch] = c.w
		}
	}
	counted := false
	all := func(what string, got map[number]bool) {
		t.Helper()
		if !counted {
			counted = true
			for n := range intact {
				sum.intact++
				if got[n] {
					sum.served++
				}
			}
		}
		for n := range intact {
			if !got[n] {
				t.Errorf("%s: number %d of epoch %s is intact and not served", what, n.n, n.epoch)
				return
			}
		}
	}
	before := copyDir(t, l.dir)
	l.look(t, "as it lies there", before, hurt && now[markName] != nil) // without the mark nobody knows of a lost end

	dir := copyDir(t, l.dir)
	j, err := Open(Options{Dir: dir, Logger: quiet, SegmentSize: 4 << 10, disk: fastDisk{}})
	switch {
	case errors.Is(err, ErrMemory), errors.Is(err, errIdentity), errors.Is(err, ErrNewer):
		sum.memory++
	case err != nil:
		t.Errorf("open: %v", err)
		return
	default:
		sum.opened++
		got, _ := l.served(t, "opened", j.Read)
		all("opened", got)
		l.goOn(t, "opened", j, top, sum)
		must(t, j.Close())
	}

	// Repair says what it would do, does it, and has nothing to do then.
	dir = copyDir(t, l.dir)
	ctx := context.Background()
	plan, err := Repair(ctx, dir, false)
	if err != nil {
		if errors.Is(err, errIdentity) || errors.Is(err, ErrNone) || errors.Is(err, ErrNewer) {
			return
		}
		t.Errorf("repair, dry: %v", err)
		return
	}
	done, err := Repair(ctx, dir, true)
	if err != nil {
		t.Errorf("repair: %v", err)
		return
	}
	if len(plan.Steps) == 0 && len(done.Steps) > 0 && !strings.Contains(done.Steps[0].What, "wrong name") {
		t.Errorf("it said that there is nothing to repair, and did %+v", done.Steps)
	}
	if again, err := Repair(ctx, dir, true); err != nil || len(again.Steps) > 0 {
		t.Errorf("repaired, and again it finds %+v, %v", again.Steps, err)
	}
	if !done.NewStore.IsZero() {
		j := openTest(t, Options{Dir: dir, disk: fastDisk{}})
		if id := j.Identity(); id.ID != done.NewStore || !slices.Contains(id.Replaces, done.Store) {
			t.Errorf("the new store is %+v", id)
		}
		must(t, j.Close())
		r, err := OpenReader(filepath.Join(dir, "store-"+done.Store.String()[:8]))
		must(t, err)
		got, _ := l.served(t, "the old store", r.Read)
		all("the old store", got)
		return
	}
	reader, err := OpenReader(dir)
	must(t, err)
	got, err := l.served(t, "repaired", reader.Read)
	all("repaired", got)
	if err != nil {
		t.Errorf("repaired, and reading says %v\nsteps %+v", err, done.Steps)
	}
	if v, err := Verify(ctx, dir, nil); err != nil || !v.OK {
		t.Errorf("repaired, and verify says %+v, %v\nsteps %+v", v.Findings, err, done.Steps)
	}
	rep := audit(t, dir)
	for _, f := range rep.Findings {
		if f.Kind != KindMissing && f.Kind != KindUnexplained {
			t.Errorf("repaired, and audit says %+v\nsteps %+v", f, done.Steps)
		}
	}
	j = openTest(t, Options{Dir: dir, SegmentSize: 4 << 10, disk: fastDisk{}})
	l.goOn(t, "repaired", j, top, nil)
	rep = audit(t, dir)
	l.accept(t, j, &rep)
	if rep := audit(t, dir); !rep.OK {
		t.Errorf("repaired and accepted: %s", rep.String())
	}
	must(t, j.Close())
}

// look lets everything that only reads look at a hurt folder.
func (l *life) look(t *testing.T, what, dir string, hurt bool) {
	t.Helper()
	ctx := context.Background()
	r, err := OpenReader(dir)
	if err != nil {
		return // it says why: no identity, and no segment that has one
	}
	l.served(t, what, r.Read)
	if _, err := r.Agents(ctx); err != nil {
		t.Errorf("%s: agents: %v", what, err)
	}
	rep, err := Audit(ctx, dir)
	v, verr := Verify(ctx, dir, nil)
	if err != nil || verr != nil {
		t.Errorf("%s: audit %v, verify %v", what, err, verr)
	}
	if hurt && rep.OK && v.OK && len(rep.Streams) > 0 {
		t.Errorf("%s: records are hurt, and audit and verify are content", what)
	}
}

// goOn lets every agent connect, send again what the store does not have, and send
// more.
func (l *life) goOn(t *testing.T, what string, j *Journal, top map[wire.Epoch]wire.Seq, sum *tallyOf) {
	t.Helper()
	clients := make([]*client, len(l.clients))
	for i, c := range l.clients {
		k := *c
		clients[i] = &k
	}
	for _, c := range clients {
		had := c.w
		st := j.agent(c.id).Stream(wire.DefaultLane, c.epoch)
		switch {
		case st == nil && top[c.epoch] > 0:
			t.Errorf("%s: %s is not known, and numbers up to %d are intact", what, c.id, top[c.epoch])
		case st != nil && (st.W < top[c.epoch] || st.W > had):
			t.Errorf("%s: %s has W %d; %d was settled, %d is intact", what, c.id, st.W, had, top[c.epoch])
		}
		if _, err := c.connect(j); err != nil { // the store's history has a hole where it is asked
			if sum != nil {
				sum.forks++
			}
			continue
		}
		if sum != nil {
			sum.resent += int(had - c.w)
		}
		for c.w < had {
			must(t, c.send(j, int(min(3, c.history.End(c.w+1, had)-c.w))))
		}
		must(t, c.send(j, 2))
	}
	l.served(t, what+", gone on", j.Read)
	rep := audit(t, j.opts.Dir)
	for _, f := range rep.Findings {
		if f.Kind == KindDoubled && !strings.Contains(f.What, "stands here again") {
			t.Errorf("%s, gone on: %+v", what, f)
		}
	}
}

// accept accepts what an audit has found.
func (l *life) accept(t *testing.T, j *Journal, rep *Report) {
	t.Helper()
	for _, f := range rep.Findings {
		claim := map[Kind]ledger.Claim{KindMissing: ledger.ClaimMissing, KindUnexplained: ledger.ClaimUnexplained, KindLost: ledger.ClaimLost}[f.Kind]
		if claim == 0 {
			t.Errorf("not to be accepted: %+v", f)
			continue
		}
		_, err := j.Accept(context.Background(), f.Agent, ledger.Closing{Time: time.Now(), By: "test", Reason: "hurt",
			Ranges: []ledger.Accepted{{Claim: claim, Lane: f.Lane, Epoch: f.Epoch, Incarnation: f.Incarnation, From: f.From, To: f.To}}})
		must(t, err)
	}
}
