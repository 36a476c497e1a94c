package ledger

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

var at = time.Unix(1_700_000_000, 7).UTC()

func id(b byte) wire.ID           { return wire.ID(bytes.Repeat([]byte{b}, 16)) }
func inc(b byte) wire.Incarnation { return wire.Incarnation{ID: id(b)} }
func epoch(b byte) wire.Epoch     { return wire.Epoch{ID: id(b)} }

func bounds(b ...any) (h wire.History) {
	for i := 0; i < len(b); i += 2 {
		h = append(h, wire.Boundary{Incarnation: b[i].(wire.Incarnation), First: wire.Seq(b[i+1].(int))})
	}
	return h
}

// opened returns an agent with a session that has resumed one new stream.
func opened(t *testing.T, h wire.History, next wire.Seq) *Agent {
	t.Helper()
	a := &Agent{}
	session(a, 1)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(1), Next: next, Boundaries: h})
	return a
}

func session(a *Agent, streams int) wire.Session {
	g := a.Hello(&wire.Hello{Instance: wire.Instance{ID: id(9)}}, streams, "192.0.2.7:4711", at, wire.NewID())
	a.ApplyHello(g)
	return g.Session
}

func resume(t *testing.T, a *Agent, r wire.Resume) {
	t.Helper()
	e, err := a.Resume(&r, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.ApplyResume(e)
}

// settle appends numbers by the rule, and reports the first that counted.
func settle(a *Agent, e wire.Epoch, from, to wire.Seq, i wire.Incarnation, fp wire.Fingerprint) wire.Seq {
	n := a.Append(wire.DefaultLane, e, &wire.Entry{From: from, To: to, Incarnation: i})
	if n > 0 {
		a.ApplyEntry(Settled{Time: at, Lane: wire.DefaultLane, Epoch: e, From: n, To: to, Incarnation: i, Fingerprint: fp})
	}
	return n
}

func TestRule1HighestCommonPointOfAllStreams(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	settle(a, epoch(1), 1, 10, inc(1), 10)
	// A fork after 6, which went on to 8.
	session(a, 1)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(2), Base: 6, Next: 9, Boundaries: bounds(inc(1), 1, inc(2), 7)})
	settle(a, epoch(2), 7, 8, inc(2), 28)
	for _, c := range []struct {
		what string
		told wire.StreamState
		want wire.Match
	}{
		{"the first line, whole", wire.StreamState{Epoch: epoch(1), Next: 11, Boundaries: bounds(inc(1), 1)},
			wire.Match{Found: true, Epoch: epoch(1), W: 10, Common: 10, FPCommon: 10}},
		{"the fork under the old epoch", wire.StreamState{Epoch: epoch(1), Next: 9, Boundaries: bounds(inc(1), 1, inc(2), 7)},
			wire.Match{Found: true, Epoch: epoch(2), W: 8, Common: 8, FPCommon: 28}},
		{"a third line from 6, which is nobody's W: its own epoch", wire.StreamState{Epoch: epoch(2), Next: 9, Boundaries: bounds(inc(1), 1, inc(3), 7)},
			wire.Match{Found: true, Epoch: epoch(2), W: 8, Common: 6}},
		{"the same with a foreign epoch: the older stream", wire.StreamState{Epoch: epoch(3), Next: 9, Boundaries: bounds(inc(1), 1, inc(3), 7)},
			wire.Match{Found: true, Epoch: epoch(1), W: 10, Common: 6}},
		{"nothing in common, own epoch", wire.StreamState{Epoch: epoch(1), Next: 4, Boundaries: bounds(inc(4), 1)},
			wire.Match{Found: true, Epoch: epoch(1), W: 10}},
		{"nothing in common, another epoch", wire.StreamState{Epoch: epoch(5), Next: 4, Boundaries: bounds(inc(4), 1)}, wire.Match{}},
	} {
		c.told.Lane = wire.DefaultLane
		if got := a.Match(&c.told, nil); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.want)
		}
	}
}

func TestRule1TieGoesToTheStreamWhoseWIsTheCommonPoint(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	settle(a, epoch(1), 1, 10, inc(1), 10)
	session(a, 1)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(2), Base: 6, Next: 7, Boundaries: bounds(inc(1), 1)})
	told := wire.StreamState{Lane: wire.DefaultLane, Epoch: epoch(1), Next: 8, Boundaries: bounds(inc(1), 1, inc(2), 7)}
	if got := a.Match(&told, nil); got.Epoch != epoch(2) || got.Common != 6 || got.W != 6 {
		t.Errorf("matched with %+v, want the stream that ends at 6", got)
	}
}

func TestRule2BeyondALiveIncarnation(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	settle(a, epoch(1), 1, 10, inc(1), 10)
	told := wire.StreamState{Lane: wire.DefaultLane, Epoch: epoch(1), Next: 8, Boundaries: bounds(inc(1), 1)}
	if !a.Match(&told, nil).Beyond {
		t.Error("the store has numbers of the live incarnation beyond next, and does not say so")
	}
	told.Boundaries = bounds(inc(1), 1, inc(2), 8) // it was opened since: a plain fork
	if a.Match(&told, nil).Beyond {
		t.Error("a folder that was put back and opened is taken for a memory that went back")
	}
}

func TestRule7FingerprintsOfEndsStay(t *testing.T) {
	a := opened(t, bounds(inc(1), 1, inc(2), 5, inc(3), 8), 20)
	settle(a, epoch(1), 1, 2, inc(1), 2)
	settle(a, epoch(1), 3, 4, inc(1), 4)
	settle(a, epoch(1), 5, 7, inc(2), 7)
	settle(a, epoch(1), 8, 12, inc(3), 12)
	asked := 0
	lookup := func(_ wire.Lane, _ wire.Epoch, n wire.Seq) wire.Fingerprint {
		asked++
		return wire.Fingerprint(100 + n)
	}
	for _, c := range []struct{ n, want, asked int }{{4, 4, 0}, {7, 7, 0}, {12, 12, 0}, {2, 102, 1}, {9, 109, 1}} {
		asked = 0
		told := wire.StreamState{Lane: wire.DefaultLane, Epoch: epoch(1), Next: 13, Acked: wire.Seq(c.n), Boundaries: bounds(inc(1), 1, inc(2), 5, inc(3), 8)}
		if got := a.Match(&told, lookup).FPAcked; int(got) != c.want || asked != c.asked {
			t.Errorf("number %d: fingerprint %d after %d questions, want %d after %d", c.n, got, asked, c.want, c.asked)
		}
	}
}

func TestRule9AppendFollowsW(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 20)
	for _, c := range []struct {
		what           string
		from, to, want wire.Seq
	}{
		{"gap", 2, 3, 0}, {"first", 1, 3, 1}, {"duplicate", 1, 3, 0}, {"straddle", 2, 6, 4}, {"gap", 8, 9, 0}, {"next", 7, 7, 7},
	} {
		if got := settle(a, epoch(1), c.from, c.to, inc(1), 1); got != c.want {
			t.Errorf("%s, %d to %d: counts from %d, want %d", c.what, c.from, c.to, got, c.want)
		}
	}
	if s := a.Stream(wire.DefaultLane, epoch(1)); s.W != 7 || s.Stored != 7 {
		t.Errorf("W %d, stored %d, want 7 and 7", s.W, s.Stored)
	}
}

func TestRule11AnnouncedUntilSettledOrExplained(t *testing.T) {
	a := opened(t, bounds(inc(1), 1), 11)
	settle(a, epoch(1), 1, 4, inc(1), 4)
	if n := a.Backlog(); n != 6 || a.Unexplained() != nil {
		t.Errorf("backlog %d, unexplained %v", n, a.Unexplained())
	}
	if older := (Announced{wire.DefaultLane, epoch(1), 6}); a.Announce(older) {
		t.Error("an announcement of less than is known counts as new")
	} else if a.ApplyAnnounce(older); a.Pending(a.Stream(wire.DefaultLane, epoch(1))) != 6 {
		t.Error("an announcement of less than is known was taken")
	}
	// A hello alone changes nothing, whatever it tells: the agent may relabel yet.
	session(a, 2)
	if a.Unexplained() != nil {
		t.Errorf("after a hello: unexplained %v", a.Unexplained())
	}
	// Neither does the first of two streams.
	resume(t, a, wire.Resume{Lane: "alarms", Epoch: epoch(7), Next: 1, Boundaries: bounds(inc(7), 1)})
	if a.Unexplained() != nil {
		t.Errorf("after one of two resumes: unexplained %v", a.Unexplained())
	}
	// The folder was put back to 7 and opened.
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(1), Base: 4, Next: 9, Boundaries: bounds(inc(1), 1, inc(2), 8)})
	got := a.Unexplained()
	if len(got) != 1 || got[0] != (Run{wire.DefaultLane, inc(1), 8, 10}) {
		t.Errorf("unexplained %v, want 8 to 10 of the first incarnation", got)
	}
	if n := a.Backlog(); n != 7 {
		t.Errorf("backlog %d, want 5 to 7, 8 to 10 and the new 8", n)
	}
	// A copy of the folder that still has them comes back.
	session(a, 1)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(1), Base: 4, Next: 11, Boundaries: bounds(inc(1), 1)})
	if got := a.Unexplained(); len(got) != 1 || got[0] != (Run{wire.DefaultLane, inc(2), 8, 8}) {
		t.Errorf("unexplained %v, want only the other line's 8", got)
	}
}

func TestRule15OnlyTheLiveSession(t *testing.T) {
	a := &Agent{}
	if a.Live(wire.Session{}) {
		t.Error("no session is live before the first hello")
	}
	first := session(a, 0)
	second := session(a, 0)
	if a.Live(first) || !a.Live(second) || a.Live(wire.Session{Number: second.Number, Nonce: first.Nonce}) {
		t.Error("another session than the last granted is live")
	}
	g := a.Hello(&wire.Hello{LastSession: 40}, 0, "", at, wire.NewID())
	if g.Session.Number != 41 {
		t.Errorf("session %d after the agent's 40", g.Session.Number)
	}
}

func TestAdvanceIsBoundedByWhatIsKnown(t *testing.T) {
	a := opened(t, bounds(inc(1), 1, inc(2), 6), 20)
	settle(a, epoch(1), 1, 3, inc(1), 3)
	if a.Advance(wire.DefaultLane, epoch(8), 5) {
		t.Error("an unknown stream was advanced")
	}
	if !a.Advance(wire.DefaultLane, epoch(1), 8) || !a.Advance(wire.DefaultLane, epoch(1), 2) {
		t.Error("a known stream was not advanced")
	}
	s := a.Stream(wire.DefaultLane, epoch(1))
	if s.W != 8 || s.Stored != 3 || s.History.At(8) != inc(2) || s.History.At(5) != inc(1) {
		t.Errorf("stream %+v", s)
	}
	if settle(a, epoch(1), 9, 9, inc(2), 9) != 9 {
		t.Error("it does not go on from there")
	}
}

var update = flag.Bool("update", false, "write the golden file anew; a change of it is a change of the format")

// goldenAgent has every field of a snapshot set.
func goldenAgent(t *testing.T) *Agent {
	a := &Agent{}
	g := a.Hello(&wire.Hello{Instance: wire.Instance{ID: id(9)}, LastSession: 5, Software: "agent 1.2", Host: wire.Host{Name: "plant", OS: "linux", Arch: "arm"}}, 2, "192.0.2.7:4711", at, id(0x51))
	a.ApplyHello(g)
	resume(t, a, wire.Resume{Lane: wire.DefaultLane, Epoch: epoch(1), Next: 20, Boundaries: bounds(inc(1), 1, inc(2), 5, inc(3), 8)})
	settle(a, epoch(1), 1, 4, inc(1), 0x44)
	a.ApplyEntry(Settled{Time: at, Lane: wire.DefaultLane, Epoch: epoch(1), From: 5, To: 6, Incarnation: inc(2), Reason: wire.ReasonExpired, Fingerprint: 0x66, Doubled: true})
	a.ApplyParting(Parting{Time: at.Add(time.Second), Goodbye: true, Reason: "shutdown"})
	a.ApplyClose(Closing{Time: at, By: "root", Reason: "the pump was scrapped", Ranges: []Accepted{
		{Claim: ClaimUnexplained, Lane: wire.DefaultLane, Incarnation: inc(3), From: 8, To: 9}, {Claim: ClaimLost, Lane: wire.DefaultLane, Epoch: epoch(1), From: 5, To: 6}}})
	a.ApplyHello(Granted{Time: at, Session: wire.Session{Number: 7}, Instance: wire.Instance{ID: id(8)}, Streams: 1,
		Behind: []Behind{{Lane: wire.DefaultLane, Epoch: epoch(1), W: 6, Acked: 8}}})
	a.ApplyParting(Parting{Time: at.Add(time.Second), Goodbye: true, Reason: "shutdown"})
	return a
}

// TestSnapshotOfVersion1 reads what the first version wrote.
func TestSnapshotOfVersion1(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "snapshot-v1.hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	a, rest, err := ParseSnapshot(b, 1)
	if err != nil || len(rest) > 0 {
		t.Fatalf("error %v, %d bytes left", err, len(rest))
	}
	if s := a.Stream(wire.DefaultLane, epoch(1)); s.W != 6 || s.Born != 0 || a.Session().Number != 6 || len(a.Closings()) > 0 {
		t.Errorf("read as %+v", s)
	}
	if _, _, err := ParseSnapshot(b, SnapshotVersion); err == nil {
		t.Error("it passes for this version as well")
	}
}

func TestGoldenSnapshot(t *testing.T) {
	got := goldenAgent(t).AppendSnapshot(nil)
	path := filepath.Join("testdata", "snapshot.hex")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("encoded as\n%x\nwant\n%x", got, want)
	}
	a, rest, err := ParseSnapshot(want, SnapshotVersion)
	if err != nil || len(rest) > 0 || !bytes.Equal(a.AppendSnapshot(nil), want) {
		t.Errorf("parsed with error %v, %d bytes left", err, len(rest))
	}
	s := a.Stream(wire.DefaultLane, epoch(1))
	if s.W != 6 || s.Tombstoned[wire.ReasonExpired] != 2 || s.known(4) != 0x44 || s.known(6) != 0x66 || a.Session().Number != 7 || len(a.Closings()) != 1 ||
		a.Parting().Reason != "shutdown" || a.Backlog() != 13 || len(s.Ahead) != 1 {
		t.Errorf("parsed as %+v", s)
	}
	for n := range want { // every cut is an error, none a panic
		if _, _, err := ParseSnapshot(want[:n], SnapshotVersion); err == nil {
			t.Errorf("%d of %d bytes parse", n, len(want))
		}
	}
}

// TestSnapshotOfVersion2 reads what the second version wrote.
func TestSnapshotOfVersion2(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "snapshot-v2.hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	a, rest, err := ParseSnapshot(b, 2)
	if err != nil || len(rest) > 0 || !a.Equal(goldenAgent(t), 2) || a.Forgotten() != nil {
		t.Fatalf("error %v, %d bytes left", err, len(rest))
	}
}

// TestForgottenSnapshot: what is left of a forgotten agent is written, read, and
// small; the closings of what its records say are among it.
func TestForgottenSnapshot(t *testing.T) {
	a := goldenAgent(t)
	for n := range 1000 { // an agent that starts often
		a.ApplyEntry(Settled{Time: at, Lane: wire.DefaultLane, Epoch: epoch(1), From: wire.Seq(7 + n), To: wire.Seq(7 + n), Incarnation: wire.Incarnation{ID: wire.ID{1, byte(n), byte(n >> 8)}}, Fingerprint: wire.Fingerprint(n + 1)})
	}
	given, w := a.Backlog(), a.streams[0].W
	b := a.Clone()
	b.ApplyForget(Forgotten{Time: at, By: "root", Reason: "scrapped", Record: 9})
	text := b.AppendSnapshot(nil)
	if f := b.Forgotten(); f == nil || f.GivenUp != given || given == 0 || b.Backlog() != 0 || len(b.Unexplained()) > 0 || len(text) > 40*forgottenBounds {
		t.Errorf("%+v, %d bytes", f, len(text))
	}
	if s := b.streams[0]; s.W != w || len(s.History) != forgottenBounds || s.known(w) == 0 || s.known(w-3) == 0 || b.Pending(s) != 0 {
		t.Errorf("stream %+v", s)
	}
	if c := b.Closings(); len(c) != 1 || len(c[0].Ranges) != 1 || c[0].Ranges[0].Claim != ClaimLost {
		t.Errorf("closings %+v", c)
	}
	if a.Forgotten() != nil || len(a.streams[0].History) < 1000 {
		t.Error("the state it was cloned from has changed")
	}
	c, rest, err := ParseSnapshot(text, SnapshotVersion)
	if err != nil || len(rest) > 0 || !bytes.Equal(c.AppendSnapshot(nil), text) || *c.Forgotten() != *b.Forgotten() {
		t.Errorf("parsed with error %v, %d bytes left", err, len(rest))
	}
	if c.Live(a.Session()) {
		t.Error("its session is live")
	}
}

func FuzzParseSnapshot(f *testing.F) {
	a := &Agent{}
	f.Add(a.AppendSnapshot(nil))
	if text, err := os.ReadFile(filepath.Join("testdata", "snapshot.hex")); err == nil {
		if b, err := hex.DecodeString(strings.TrimSpace(string(text))); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _, err := ParseSnapshot(b, SnapshotVersion)
		if err != nil {
			return
		}
		again := a.AppendSnapshot(nil)
		c, rest, err := ParseSnapshot(again, SnapshotVersion)
		if err != nil || len(rest) > 0 || !bytes.Equal(c.AppendSnapshot(nil), again) {
			t.Fatalf("written again it does not parse: %v", err)
		}
		a.Unexplained()
		a.Backlog()
		for _, s := range a.Streams() {
			told := wire.StreamState{Lane: s.Lane, Epoch: s.Epoch, Next: s.W + 1, Acked: s.W / 2, Boundaries: s.History}
			a.Match(&told, nil)
		}
	})
}
