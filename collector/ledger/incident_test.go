package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// said renders incidents as "kind lane from-to xN".
func said(a *Agent) string {
	list, _ := a.Incidents()
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprintf("%s %s %d-%d x%d", n.Kind, n.Lane, n.From, n.To, n.Count))
	}
	return strings.Join(out, "; ")
}

func hello(a *Agent, instance byte, streams int, now time.Time, behind ...Behind) {
	g := a.Hello(&wire.Hello{Instance: wire.Instance{ID: id(instance)}}, streams, "", now, wire.NewID())
	g.Behind = behind
	a.ApplyHello(g)
}

func wantSaid(t *testing.T, a *Agent, want string) {
	t.Helper()
	if got := said(a); got != want {
		t.Errorf("incidents are %q, want %q", got, want)
	}
}

func TestRule2AForkIsNotedWithItsOrigin(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	settle(a, epoch(1), 1, 10, inc(1), 10)
	hello(a, 1, 1, at)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(2), Base: 6, Next: 9, Boundaries: bounds(inc(1), 1, inc(2), 7)})
	wantSaid(t, a, "rolled-back default 7-8 x1")
	list, noted := a.Incidents()
	if list[0].Origin != epoch(1) || list[0].Epoch != epoch(2) || !list[0].First.Equal(at) || noted != 1 {
		t.Errorf("incident %+v, %d in all", list[0], noted)
	}
}

func TestRule2RelabelledRunsAreOne(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 41)
	settle(a, epoch(1), 1, 10, inc(1), 10)
	for n := wire.Seq(11); n < 40; n += 10 {
		a.ApplyEntry(Settled{Time: at, Lane: wire.DefaultLane, Epoch: epoch(1), From: n, To: n + 9, Incarnation: inc(2), Doubled: true})
	}
	wantSaid(t, a, "relabelled default 11-40 x3")
}

func TestRule3AStoreThatIsBehindIsNoted(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 41)
	settle(a, epoch(1), 1, 10, inc(1), 10)
	told := wire.StreamState{Lane: wire.DefaultLane, Epoch: epoch(1), Next: 41, Acked: 30, Boundaries: bounds(inc(1), 1)}
	m := a.Match(&told, nil)
	b, ok := BehindOf(&told, &m)
	if !ok || b.W != 10 || b.Acked != 30 {
		t.Fatalf("behind is %+v, %v", b, ok)
	}
	hello(a, 1, 1, at, b)
	a.ApplyEntry(Settled{Time: at.Add(time.Minute), Lane: wire.DefaultLane, Epoch: epoch(1), From: 11, To: 20, Incarnation: inc(1), Reason: wire.ReasonLostAtStore})
	wantSaid(t, a, "store-behind default 11-30 x2")
	told.Acked = 10
	if _, ok := BehindOf(&told, &m); ok {
		t.Error("a store that has all its acks is called behind")
	}
}

func TestRule4WhatAnotherStoreHasIsNoted(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 41)
	old := wire.NewID().String()
	a.ApplyEntry(Settled{Time: at, Lane: wire.DefaultLane, Epoch: epoch(1), From: 1, To: 20, Incarnation: inc(1), Reason: wire.ReasonStoredIn, Detail: old})
	wantSaid(t, a, "other-store default 1-20 x1")
	if list, _ := a.Incidents(); list[0].Detail != old {
		t.Errorf("detail %q", list[0].Detail)
	}
}

// An instance that is fenced and comes back is alive beside the other. A restart
// is not: the old instance never comes again.
func TestRule15AnInstanceThatComesBackIsADuplicate(t *testing.T) {
	a := &Agent{}
	for i := range byte(20) {
		hello(a, i+1, 0, at)
	}
	wantSaid(t, a, "")
	hello(a, 19, 0, at.Add(time.Minute))
	wantSaid(t, a, "duplicate-identity  0-0 x1")
	hello(a, 20, 0, at.Add(2*time.Minute))
	wantSaid(t, a, "duplicate-identity  0-0 x2")
	hello(a, 20, 0, at.Add(3*time.Minute)) // the same process connects again
	wantSaid(t, a, "duplicate-identity  0-0 x2")
	hello(a, 19, 0, at.Add(72*time.Hour))
	wantSaid(t, a, "duplicate-identity  0-0 x2; duplicate-identity  0-0 x1")
}

func TestAFolderBegunAnewIsNoted(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	hello(a, 2, 1, at)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(2), Next: 4, Boundaries: bounds(inc(2), 1)})
	wantSaid(t, a, "new-folder default 0-0 x1")
}

// A lane that goes live first begins a stream beside the one that it goes on
// with: nothing was lost.
func TestALaneThatGoesLiveFirstIsNoNewFolder(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(2), Next: 4, Boundaries: bounds(inc(2), 1)})
	hello(a, 2, 3, at)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(3), Next: 4, Boundaries: bounds(inc(3), 1)})
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(1), Next: 12, Boundaries: bounds(inc(1), 1)})
	resume(t, a, wire.Resume{Lane: "other", Epoch: epoch(3), Next: 4, Boundaries: bounds(inc(3), 1)})
	wantSaid(t, a, "")
}

func TestIncidentsAreBounded(t *testing.T) {
	a := &Agent{}
	for i := range 200 {
		a.incident(Incident{Kind: IncidentRolledBack, First: at, Lane: wire.DefaultLane, From: wire.Seq(i + 1)})
	}
	list, noted := a.Incidents()
	if len(list) != MaxIncidents || noted != 200 || list[MaxIncidents-1].From != 200 {
		t.Errorf("%d kept of %d", len(list), noted)
	}
}

// lostFolder announces 1 to 20, settles up to 5, and then comes back with an
// empty folder.
func lostFolder(t *testing.T) *Agent {
	a := opened(t, bounds(inc(1), 1), 21)
	settle(a, epoch(1), 1, 5, inc(1), 5)
	hello(a, 2, 1, at)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(2), Next: 4, Boundaries: bounds(inc(2), 1)})
	if u := a.Unexplained(); len(u) != 1 || u[0].From != 6 || u[0].To != 20 {
		t.Fatalf("unexplained %+v", u)
	}
	return a
}

func TestRule11ClosedNumbersAreNotUnexplained(t *testing.T) {
	a := lostFolder(t)
	unexplained := func(from, to wire.Seq) Accepted {
		return Accepted{Claim: ClaimUnexplained, Lane: wire.DefaultLane, Incarnation: inc(1), From: from, To: to}
	}
	c, err := a.Close(Closing{Time: at, By: "root", Reason: "scrapped", Ranges: []Accepted{unexplained(1, 12)}})
	if err != nil || len(c.Ranges) != 1 || c.Ranges[0].From != 6 || c.Ranges[0].To != 12 {
		t.Fatalf("closing %+v, %v", c, err)
	}
	before := a
	a = a.Clone()
	a.ApplyClose(c)
	if u := a.Unexplained(); len(u) != 1 || u[0].From != 13 || u[0].To != 20 {
		t.Errorf("unexplained %+v", u)
	}
	if u := before.Unexplained(); len(u) != 1 || u[0].From != 6 {
		t.Errorf("the clone's original changed: %+v", u)
	}
	if n := a.Backlog(); n != 8+3 {
		t.Errorf("backlog %d", n)
	}
	if got := a.Closed(); len(got) != 1 || got[0].From != 6 || a.Closing(unexplained(7, 7), 7).Reason != "scrapped" {
		t.Errorf("closed %+v", got)
	}
	// Once more is nothing, the rest is the rest.
	if c, err := a.Close(c); err != nil || len(c.Ranges) > 0 {
		t.Errorf("closed twice: %+v, %v", c, err)
	}
	c, err = a.Close(Closing{Ranges: []Accepted{unexplained(1, 100)}})
	if err != nil || len(c.Ranges) != 1 || c.Ranges[0].From != 13 || c.Ranges[0].To != 20 {
		t.Errorf("the rest: %+v, %v", c, err)
	}
	a.ApplyClose(c)
	if u := a.Unexplained(); len(u) > 0 {
		t.Errorf("unexplained %+v", u)
	}
	// What is lost later is unexplained again.
	hello(a, 3, 1, at)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(4), Next: 2, Boundaries: bounds(inc(4), 1)})
	if u := a.Unexplained(); len(u) != 1 || u[0].Incarnation != inc(2) {
		t.Errorf("new numbers: %+v", u)
	}
}

func TestRule3LostNumbersAreAccepted(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 41)
	a.ApplyEntry(Settled{Time: at, Lane: wire.DefaultLane, Epoch: epoch(1), From: 1, To: 20, Incarnation: inc(1), Reason: wire.ReasonLostAtStore})
	lost := Accepted{Claim: ClaimLost, Lane: wire.DefaultLane, Epoch: epoch(1), From: 5, To: 10}
	c, err := a.Close(Closing{Ranges: []Accepted{lost}})
	if err != nil {
		t.Fatal(err)
	}
	a.ApplyClose(c)
	all := lost
	all.From, all.To = 1, 20
	if open := a.NotClosed(all); len(open) != 2 || open[0].To != 4 || open[1].From != 11 {
		t.Errorf("open %+v", open)
	}
	for _, bad := range []Accepted{{Claim: ClaimLost, Lane: wire.DefaultLane, Epoch: epoch(1), From: 5, To: 50},
		{Claim: ClaimMissing, Lane: wire.DefaultLane, Epoch: epoch(9), From: 5, To: 6}, {Claim: 9, Lane: wire.DefaultLane, From: 1, To: 2}, {Claim: ClaimLost, From: 2, To: 1}} {
		if _, err := a.Close(Closing{Ranges: []Accepted{bad}}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
