package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

func forget(t *testing.T, j *Journal, id wire.AgentID) {
	t.Helper()
	must(t, j.Forget(context.Background(), id, ledger.Forgotten{Time: testTime, By: "root", Reason: "scrapped"}))
}

// forgottenIn returns what an audit says of one agent that was forgotten; the audit
// must have no findings.
func forgottenIn(t *testing.T, dir string) *AgentForgotten {
	t.Helper()
	r := audit(t, dir)
	if !r.OK {
		t.Fatalf("audit: %s", r.String())
	}
	if len(r.Forgotten) == 0 {
		return nil
	}
	return &r.Forgotten[0]
}

// TestForgottenAgent: it is in no list, its session is fenced, what it announced is
// given up and not unexplained, and audit tells all that, over a crash, new
// segments and a backup.
func TestForgottenAgent(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	lost, c := loseFolder(t, j)
	c.next += 7
	_, err := c.connect(j)
	must(t, err)
	other := newClient("pump-8")
	must(t, other.sendAgain(j))
	forget(t, j, c.id)
	check := func(what string) {
		t.Helper()
		f := forgottenIn(t, dir)
		if f == nil || f.Agent != c.id || f.By != "root" || f.Reason != "scrapped" || !f.Time.Equal(testTime) || f.GivenUp != 6+7 {
			t.Errorf("%s: %+v", what, f)
		}
		known, err := j.Agents(context.Background())
		must(t, err)
		if len(known) != 1 || known[0].Agent != "pump-8" {
			t.Errorf("%s: the list is %+v", what, known)
		}
	}
	check("at once")
	if err := c.send(j, 1); !errors.Is(err, collector.ErrFenced) {
		t.Errorf("its session goes on: %v", err)
	}
	if err := j.Forget(context.Background(), c.id, ledger.Forgotten{Time: testTime}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("forgotten twice: %v", err)
	}
	kill(t, j)
	j = openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	check("after a crash")
	for range 5 {
		must(t, other.sendAgain(j))
	}
	check("behind new segments")
	must(t, j.Close())
	copied := t.TempDir() + "/copy"
	_, err = Backup(context.Background(), dir, copied, nil, nil)
	must(t, err)
	dir = copied
	j = openTest(t, Options{Dir: dir})
	check("a backup")

	// Messages that were stored are there.
	got := bodies(t, j.Read)
	if n := len(got[c.id]); n != int(lost.w+c.w) {
		t.Errorf("%d messages of the forgotten agent, want %d", n, lost.w+c.w)
	}
}

// TestForgottenAgentComesBack: with its old folder it goes on where it was, nothing
// is stored twice and nothing lost, whatever the folder had acked; with another one
// it is a new stream.
func TestForgottenAgentComesBack(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	old := *c // a copy of its folder, which knows of less than was stored
	must(t, c.send(j, 3))
	forget(t, j, c.id)
	m, err := old.connect(j)
	if err == nil || !m.Found || m.W != c.w || m.Common != old.next-1 {
		t.Errorf("an older copy of the folder: %+v, %v: want a fork from %d", m, err, old.next-1)
	}
	forget(t, j, c.id)
	kill(t, j)
	j = openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	if m, err := c.connect(j); err != nil || !m.Found || m.W != c.w || m.FPCommon == 0 {
		t.Errorf("its folder: %+v, %v", m, err)
	}
	must(t, c.send(j, 2))
	if f := forgottenIn(t, dir); f != nil {
		t.Errorf("it is back, and forgotten: %+v", f)
	}
	checkBodies(t, j, c)
	p, err := j.Pasts(context.Background(), c.id)
	must(t, err)
	if n := len(p[0].Incidents); n == 0 || p[0].Incidents[n-1].Kind != ledger.IncidentCameBack {
		t.Errorf("incidents %+v", p[0].Incidents)
	}
	if known, _ := j.Agents(context.Background()); len(known) != 1 {
		t.Errorf("it is not in the list: %+v", known)
	}
}

// TestForgottenAgentGoes: after a year, once retention has removed the last message of
// it, nothing is left, in memory, in snapshots and in the audit; not earlier.
func TestForgottenAgentGoes(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, Options{Dir: dir, SegmentSize: 1 << 10, MaxBytes: 1})
	other := newClient("pump-8")
	must(t, other.sendAgain(j))
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	forget(t, j, c.id) // long ago
	late := newClient("pump-9")
	must(t, late.sendAgain(j))
	must(t, j.Forget(context.Background(), late.id, ledger.Forgotten{Time: time.Now().Add(-rememberFor + time.Hour), By: "root"}))
	if f := forgottenIn(t, dir); f == nil {
		t.Error("nothing is known of it while its messages are there")
	}
	deadline := time.Now().Add(20 * time.Second)
	for j.agent(c.id).Len() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("it stays for ever")
		}
		must(t, other.sendAgain(j))
		j.mu.Lock()
		known, removed := j.state[c.id], j.removed.index
		j.mu.Unlock()
		if known == nil && removed == 0 {
			t.Fatal("it is gone before its messages are")
		}
		time.Sleep(5 * time.Millisecond)
	}
	for range 3 {
		must(t, other.sendAgain(j))
	}
	if f := forgottenIn(t, dir); f == nil || f.Agent != late.id {
		t.Errorf("audit tells of %+v, and the other one's time has not come", f)
	}
	if p, err := j.Pasts(context.Background(), c.id); err != nil || len(p) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	kill(t, j)
	j = openTest(t, Options{Dir: dir, SegmentSize: 1 << 10})
	if j.agent(c.id).Len() > 0 {
		t.Error("it is back after a crash")
	}
	// Whoever comes under its id now is new, and the store says so.
	if m, err := c.connect(j); err != nil || m.Found {
		t.Errorf("its old folder: %+v, %v", m, err)
	}
	if r := audit(t, dir); !r.OK {
		t.Error(r.String())
	}
}

// TestGoneIsRecorded pins the record that takes an agent out of the memory.
func TestGoneIsRecorded(t *testing.T) {
	e := &forgotten{id: "p", Forgotten: ledger.Forgotten{Time: time.Unix(0, 1).UTC(), By: "x", Record: 5}, gone: true}
	const want = "\x00\x01p\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01x\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x01"
	if got := e.append(nil); string(got) != want {
		t.Errorf("encoded as %q", got)
	}
	got, err := parseEvent(kindForget, []byte(want))
	if f, ok := got.(*forgotten); err != nil || !ok || *f != *e {
		t.Errorf("read as %+v, %v", got, err)
	}
	for n := range want {
		if _, err := parseEvent(kindForget, []byte(want[:n])); err == nil {
			t.Errorf("%d of %d bytes parse", n, len(want))
		}
	}
}

// TestLimits: a store does not remember more of an agent, nor more agents, than it
// is told to; those that it knows are served.
func TestLimits(t *testing.T) {
	j := openTest(t, Options{Dir: t.TempDir(), MaxAgents: 2, MaxStreams: 3})
	a, b := newClient("a"), newClient("b")
	must(t, a.sendAgain(j))
	must(t, b.sendAgain(j))
	c := newClient("c")
	if _, err := c.connect(j); !errors.Is(err, collector.ErrLimit) {
		t.Errorf("a third agent: %v", err)
	}
	_, err := j.Import(context.Background(), collector.Import{Agent: "c", Stream: wire.StreamState{Lane: wire.DefaultLane, Epoch: c.epoch, Next: 2, Boundaries: c.history}, Entries: []wire.Entry{c.entry(1, 1)}, Time: testTime})
	if !errors.Is(err, collector.ErrLimit) {
		t.Errorf("a third agent's carry file: %v", err)
	}
	for n := range 3 {
		more := newClient("a")
		_, err := more.connect(j)
		if want := n == 2; errors.Is(err, collector.ErrLimit) != want {
			t.Errorf("stream %d of agent a: %v", n+2, err)
		}
	}
	must(t, a.sendAgain(j))
	must(t, b.sendAgain(j))
	forget(t, j, "b")
	must(t, c.sendAgain(j))
	if _, err := b.connect(j); !errors.Is(err, collector.ErrLimit) {
		t.Errorf("the forgotten one takes the place of another: %v", err)
	}
}

// TestLimitOfAnnouncements: an agent cannot fill the memory with incarnations that
// it invents.
func TestLimitOfAnnouncements(t *testing.T) {
	j := openTest(t, Options{Dir: t.TempDir(), disk: fastDisk{}})
	c := newClient("a")
	refused := error(nil)
	for n := 0; n < 10 && refused == nil; n++ {
		c.history, c.next = nil, wire.MaxHelloBounds+1
		for i := range wire.Seq(wire.MaxHelloBounds) {
			c.history = append(c.history, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: i + 1})
		}
		_, refused = c.connect(j)
	}
	if !errors.Is(refused, collector.ErrLimit) {
		t.Errorf("ten times %d incarnations: %v", wire.MaxHelloBounds, refused)
	}
}
