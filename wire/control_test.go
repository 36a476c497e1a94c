package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func goodHello() wire.Hello {
	return wire.Hello{Protocol: 1, Agent: "pump-7", Instance: wire.Instance(goldenEpoch), Streams: 1}
}

func goodState() wire.StreamState {
	return wire.StreamState{Lane: "default", Epoch: goldenEpoch, Next: 12, Acked: 11, Boundaries: wire.History{bound(1, 1), bound(2, 12)}}
}

func goodResume() wire.Resume {
	return wire.Resume{Stream: 3, Lane: "default", Epoch: goldenEpoch, Base: 11, Next: 12, Boundaries: wire.History{bound(1, 1), bound(2, 12)}}
}

func goodWelcome() wire.Welcome {
	return wire.Welcome{Session: wire.Session{Number: 1}, Store: wire.StoreID(goldenEpoch), Heartbeat: time.Second, Window: 1, Fragment: 1,
		Matches: []wire.Match{{Found: true, Epoch: goldenEpoch, W: 13, Common: 11}}}
}

// TestControlFrameCheck changes one field of a good control frame at a time.
func TestControlFrameCheck(t *testing.T) {
	type testCase struct {
		name string
		err  error
		want string // "" accepted
	}
	hello := func(name, want string, change func(*wire.Hello)) testCase {
		h := goodHello()
		change(&h)
		return testCase{"hello: " + name, h.Check(), want}
	}
	state := func(name, want string, change func(*wire.StreamState)) testCase {
		s := goodState()
		change(&s)
		return testCase{"history: " + name, s.Check(), want}
	}
	resume := func(name, want string, change func(*wire.Resume)) testCase {
		r := goodResume()
		change(&r)
		return testCase{"resume: " + name, r.Check(), want}
	}
	welcome := func(name, want string, change func(*wire.Welcome)) testCase {
		w := goodWelcome()
		change(&w)
		return testCase{"welcome: " + name, w.Check([]wire.StreamState{goodState()}), want}
	}
	many := make(wire.History, wire.MaxHelloBounds+1)
	for i := range many {
		many[i] = bound(i+1, wire.Seq(i+1))
	}
	for _, c := range []testCase{
		hello("good", "", func(*wire.Hello) {}),
		hello("nothing", "protocol version 0", func(h *wire.Hello) { *h = wire.Hello{} }),
		hello("another version", "protocol version 2, this side speaks 1", func(h *wire.Hello) { h.Protocol = 2 }),
		hello("version below 0", "protocol version -1", func(h *wire.Hello) { h.Protocol = -1 }),
		hello("no agent", `bad name: agent id ""`, func(h *wire.Hello) { h.Agent = "" }),
		hello("malformed agent id", `bad name: agent id "pump 7"`, func(h *wire.Hello) { h.Agent = "pump 7" }),
		hello("agent id of 64 characters", "", func(h *wire.Hello) { h.Agent = wire.AgentID(strings.Repeat("x", 64)) }),
		hello("agent id of 65 characters", "have 65 bytes", func(h *wire.Hello) { h.Agent = wire.AgentID(strings.Repeat("x", 65)) }),
		hello("instance zero", "hello without an instance", func(h *wire.Hello) { h.Instance = wire.Instance{} }),
		hello("streams below 0", "hello with -1 streams", func(h *wire.Hello) { h.Streams = -1 }),
		hello("no streams", "", func(h *wire.Hello) { h.Streams = 0 }),
		hello("streams at the limit", "", func(h *wire.Hello) { h.Streams = 1024 }),
		hello("streams beyond the limit", "hello with 1025 streams, the limit is 1024", func(h *wire.Hello) { h.Streams = 1025 }),
		hello("heartbeat below 0", "hello with a heartbeat of -1ns", func(h *wire.Hello) { h.Heartbeat = -1 }),

		state("good", "", func(*wire.StreamState) {}),
		state("nothing sent yet", "", func(s *wire.StreamState) { s.Next, s.Acked, s.Boundaries = 1, 0, wire.History{bound(1, 1)} }),
		state("malformed lane", `bad name: lane ".."`, func(s *wire.StreamState) { s.Lane = ".." }),
		state("epoch zero", "lane default: stream without an epoch", func(s *wire.StreamState) { s.Epoch = wire.Epoch{} }),
		state("next 0", "lane default: next is 0, numbers are 1 to", func(s *wire.StreamState) { s.Next = 0 }),
		state("next behind the largest number", "", func(s *wire.StreamState) { s.Next = wire.MaxSeq + 1 }),
		state("next beyond that", "next is 9223372036854775809", func(s *wire.StreamState) { s.Next = wire.MaxSeq + 2 }),
		state("acked what is not there", "acked 12, but next is 12", func(s *wire.StreamState) { s.Acked = 12 }),
		state("no boundaries", "no boundaries, an opened lane has one", func(s *wire.StreamState) { s.Boundaries = nil }),
		state("a boundary beyond next", "a boundary at 13, but next is 12", func(s *wire.StreamState) { s.Boundaries[1].First = 13 }),
		state("boundaries that are no history", "lane default: history: boundary 0 has no incarnation", func(s *wire.StreamState) { s.Boundaries[0] = bound(0, 1) }),
		state("boundaries at the limit", "", func(s *wire.StreamState) { s.Next, s.Boundaries = 20000, many[1:] }),
		state("boundaries beyond the limit", "16385 boundaries, the limit is 16384", func(s *wire.StreamState) { s.Next, s.Boundaries = 20000, many }),

		resume("good", "", func(*wire.Resume) {}),
		resume("stream 0 is a number like others", "", func(r *wire.Resume) { r.Stream = 0 }),
		resume("base 0", "", func(r *wire.Resume) { r.Base = 0 }),
		resume("base at next", "lane default: base 12, but next is 12", func(r *wire.Resume) { r.Base = 12 }),
		resume("next 0", "next is 0", func(r *wire.Resume) { r.Next = 0 }),
		resume("next beyond the largest number", "next is 9223372036854775809", func(r *wire.Resume) { r.Next = wire.MaxSeq + 2 }),
		resume("malformed lane", `bad name: lane ""`, func(r *wire.Resume) { r.Lane = "" }),
		resume("epoch zero", "without an epoch", func(r *wire.Resume) { r.Epoch = wire.Epoch{} }),
		resume("no boundaries", "no boundaries", func(r *wire.Resume) { r.Boundaries = nil }),
		resume("boundaries beyond the limit", "the limit is 16384", func(r *wire.Resume) { r.Next, r.Boundaries = 20000, many }),

		welcome("good", "", func(*wire.Welcome) {}),
		welcome("not found", "", func(w *wire.Welcome) { w.Matches[0] = wire.Match{} }),
		welcome("no session", "welcome without a session", func(w *wire.Welcome) { w.Session = wire.Session{} }),
		welcome("no store", "welcome without a store", func(w *wire.Welcome) { w.Store = wire.StoreID{} }),
		welcome("no heartbeat", "welcome with a heartbeat of 0s", func(w *wire.Welcome) { w.Heartbeat = 0 }),
		welcome("heartbeat below 0", "welcome with a heartbeat of -1s", func(w *wire.Welcome) { w.Heartbeat = -time.Second }),
		welcome("no window", "welcome with a window of 0", func(w *wire.Welcome) { w.Window = 0 }),
		welcome("fragment below 0", "a fragment of -1 bytes", func(w *wire.Welcome) { w.Fragment = -1 }),
		welcome("no match", "welcome with 0 matches for 1 streams", func(w *wire.Welcome) { w.Matches = nil }),
		welcome("a match too many", "welcome with 2 matches for 1 streams", func(w *wire.Welcome) { w.Matches = append(w.Matches, wire.Match{}) }),
		welcome("found without an epoch", "welcome: lane default: a match without an epoch", func(w *wire.Welcome) { w.Matches[0].Epoch = wire.Epoch{} }),
		welcome("W beyond the largest number", "watermark 9223372036854775808", func(w *wire.Welcome) { w.Matches[0].W = wire.MaxSeq + 1 }),
		welcome("common point beyond W", "common point 11, but W is 10", func(w *wire.Welcome) { w.Matches[0].W = 10 }),
		welcome("common point beyond the agent's last", "common point 12, but W is 13 and the hello's last number 11", func(w *wire.Welcome) { w.Matches[0].Common = 12 }),
	} {
		if c.want != "" {
			t.Run(c.name, func(t *testing.T) { wantError(t, c.err, c.want) })
		} else if c.err != nil {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	bad := goodHello()
	bad.Agent = "."
	same(t, errors.Is(bad.Check(), wire.ErrName), true)
}

// Control frames are JSON objects in UTF-8; all but fields that are not known is
// strict.
func TestControlFrameIsNotRead(t *testing.T) {
	const id = `"00112233445566778899aabbccddeeff"`
	for _, c := range []struct {
		name string
		p    string
		into any
		err  string
	}{
		{"nothing", "", new(wire.Hello), "unexpected end"},
		{"blank", " ", new(wire.Hello), "unexpected end"},
		{"not JSON", "protocol: 1", new(wire.Hello), "invalid character"},
		{"not an object", "[1]", new(wire.Hello), "cannot unmarshal array"},
		{"a number", "1", new(wire.Hello), "cannot unmarshal number"},
		{"something behind it", `{"protocol":1} {}`, new(wire.Hello), "after top-level value"},
		{"a NUL behind it", "{}\x00", new(wire.Hello), "after top-level value"},
		{"not UTF-8", "{\"software\":\"\xff\"}", new(wire.Hello), "not valid UTF-8"},
		{"not UTF-8 in an unknown field", "{\"x\":\"\xc3\"}", new(wire.Hello), "not valid UTF-8"},
		{"protocol as text", `{"protocol":"1"}`, new(wire.Hello), "cannot unmarshal string"},
		{"protocol too large", `{"protocol":9223372036854775808}`, new(wire.Hello), "cannot unmarshal number"},
		{"agent id not a name", `{"agent":"a b"}`, new(wire.Hello), `bad name: agent id "a b"`},
		{"agent id empty", `{"agent":""}`, new(wire.Hello), "bad name: agent id"},
		{"agent id with an escaped control character", `{"agent":"a\u0000"}`, new(wire.Hello), "bad name: agent id"},
		{"agent id as a number", `{"agent":7}`, new(wire.Hello), "cannot unmarshal number"},
		{"instance cut short", `{"instance":"0011"}`, new(wire.Hello), "want 32 hex digits"},
		{"instance in capitals", `{"instance":"` + strings.Repeat("A", 32) + `"}`, new(wire.Hello), "want lower-case hex digits"},
		{"instance all zero", `{"instance":"` + strings.Repeat("0", 32) + `"}`, new(wire.Hello), "names nothing"},
		{"last session below 0", `{"last_session":-1}`, new(wire.Hello), "cannot unmarshal number"},
		{"streams as a fraction", `{"streams":1.5}`, new(wire.Hello), "cannot unmarshal number"},
		{"lane not a name", `{"lane":"../x"}`, new(wire.StreamState), "bad name: lane"},
		{"next beyond 64 bits", `{"next":18446744073709551616}`, new(wire.StreamState), "cannot unmarshal number"},
		{"next below 0", `{"next":-1}`, new(wire.StreamState), "cannot unmarshal number"},
		{"a boundary that is none", `{"boundaries":["1"]}`, new(wire.StreamState), "want incarnation:first"},
		{"an empty boundary", `{"boundaries":[""]}`, new(wire.Resume), "want incarnation:first"},
		{"stream beyond 32 bits", `{"stream":4294967296}`, new(wire.Resume), "cannot unmarshal number"},
		{"a fingerprint that is none", `{"matches":[{"fp_common":"1"}]}`, new(wire.Welcome), "want 16 lower-case hex digits"},
		{"a time that is none", `{"time":"yesterday"}`, new(wire.Welcome), "parsing time"},
		{"nested too deep", strings.Repeat(`{"x":`, 20000), new(wire.Hello), "exceeded max depth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := wire.ParseJSON(wire.TypeHello, []byte(c.p), c.into)
			wantError(t, err, c.err)
			wantError(t, err, "bad frame: hello: ")
			same(t, errors.Is(err, wire.ErrFrame), true)
			same(t, errors.Is(err, wire.ErrName), strings.Contains(c.err, "bad name"))
		})
	}

	// What does not decode far enough is left to Check.
	for _, p := range []string{"null", "{}", `{"agent":null,"instance":null}`, `{"instance":""}`} {
		var h wire.Hello
		if err := wire.ParseJSON(wire.TypeHello, []byte(p), &h); err != nil || h.Check() == nil {
			t.Errorf("%s: %v, then Check says %v", p, err, h.Check())
		}
	}
	// "A receiver MUST ignore fields that it does not know."
	var h wire.Hello
	p := `{"future":{"agent":[1]},"protocol":1,"agent":"pump-7","instance":` + id + `,"streams":1,"host":{"cpu":4}}`
	if err := wire.ParseJSON(wire.TypeHello, []byte(p), &h); err != nil || h.Check() != nil {
		t.Errorf("%v, %v", err, h.Check())
	}
	same(t, h, goodHello())
}

func TestControlFrameCutAtEveryOffset(t *testing.T) {
	for _, v := range []any{goodHello(), goodState(), goodResume(), goodWelcome(), wire.Refuse{Code: wire.RefuseBusy}, wire.Bye{Reason: "shutdown"}} {
		whole, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(whole) {
			if err := wire.ParseJSON(wire.TypeHello, whole[:n], reflect.New(reflect.TypeOf(v)).Interface()); err == nil {
				t.Errorf("%T: %d of %d bytes are taken for a frame", v, n, len(whole))
			}
		}
	}
}

// "Hello: largest payload 4 KiB", whatever the machine is called.
func TestHelloFitsWhateverTheHostSays(t *testing.T) {
	for name, text := range map[string]string{
		"long": strings.Repeat("x", 5000), "long when escaped": strings.Repeat("\x01", 5000), "wide": strings.Repeat("\u2028", 5000), "not UTF-8": strings.Repeat("\xff1", 5000),
	} {
		h := wire.Hello{Protocol: 1, Agent: wire.AgentID(strings.Repeat("x", 64)), Instance: wire.Instance(goldenEpoch), LastSession: 1<<64 - 1, Streams: wire.MaxStreams,
			Software: text, Host: wire.Host{Name: text, OS: text, Arch: text}, Heartbeat: 1<<63 - 1}
		plain := wire.AppendJSON(nil, wire.TypeHello, h)
		sameBytes(t, wire.AppendJSON(nil, wire.TypeHello, &h), plain)
		same(t, h.Software, text) // the caller's is left as it is
		_, p, _, err := wire.ReadFrame(bytes.NewReader(plain), nil, wire.MaxHello)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var back wire.Hello
		if err := wire.ParseJSON(wire.TypeHello, p, &back); err != nil || back.Check() != nil {
			t.Fatalf("%s: %v, %v", name, err, back.Check())
		}
		if len(back.Host.Name) > wire.MaxText || len(back.Host.Name) < wire.MaxText-3 {
			t.Errorf("%s: a host name of %d bytes", name, len(back.Host.Name))
		}
	}
}

// Pages are equal but for boundaries, oldest first, with more on all but the
// last; at most the newest boundaries are sent; none is above its limit.
func TestPages(t *testing.T) {
	h := make(wire.History, wire.MaxHelloBounds+7)
	for i := range h {
		h[i] = wire.Boundary{Incarnation: inc(i + 1), First: wire.MaxSeq - wire.Seq(len(h)-i)} // the longest text
	}
	lane := wire.Lane(strings.Repeat("x", 64))
	for _, c := range []struct{ boundaries, pages int }{{0, 1}, {1, 1}, {1023, 1}, {1024, 1}, {1025, 2}, {2048, 2}, {2049, 3}, {16384, 16}, {16385, 16}, {16391, 16}} {
		s := wire.StreamState{Lane: lane, Epoch: goldenEpoch, Next: wire.MaxSeq + 1, Acked: wire.MaxSeq, Boundaries: h[len(h)-c.boundaries:]}
		want := s
		want.Boundaries = s.Boundaries[max(0, len(s.Boundaries)-wire.MaxHelloBounds):]
		got, pages := wire.StreamState{}, 0
		for r := bytes.NewReader(wire.AppendHistory(nil, s)); r.Len() > 0; pages++ {
			typ, p, _, err := wire.ReadFrame(r, nil, wire.MaxPage)
			var page wire.StreamState
			if err == nil {
				err = wire.ParseJSON(typ, p, &page)
			}
			if err != nil || typ != wire.TypeHistory || page.More != (r.Len() > 0) {
				t.Fatalf("page %d: a %s, more %t, %v", pages, typ, page.More, err)
			}
			page.Boundaries, page.More = append(got.Boundaries, page.Boundaries...), false
			got = page
		}
		if !slices.Equal(got.Boundaries, want.Boundaries) || pages != c.pages {
			t.Errorf("%d boundaries: %d pages with %d", c.boundaries, pages, len(got.Boundaries))
		}
		got.Boundaries, want.Boundaries = nil, nil
		same(t, got, want)

		resume := wire.Resume{Stream: 1<<32 - 1, Lane: lane, Epoch: goldenEpoch, Base: wire.MaxSeq, Next: wire.MaxSeq + 1, Boundaries: s.Boundaries}
		joined, pages := wire.History(nil), 0
		for r := bytes.NewReader(wire.AppendResume(nil, resume)); r.Len() > 0; pages++ {
			typ, p, _, err := wire.ReadFrame(r, nil, wire.MaxPage)
			var page wire.Resume
			if err == nil {
				err = wire.ParseJSON(typ, p, &page)
			}
			if err != nil || typ != wire.TypeResume || page.More != (r.Len() > 0) {
				t.Fatalf("page %d: a %s, more %t, %v", pages, typ, page.More, err)
			}
			joined = append(joined, page.Boundaries...)
		}
		if !slices.Equal(joined, resume.Boundaries[max(0, len(s.Boundaries)-wire.MaxHelloBounds):]) || pages != c.pages {
			t.Errorf("resume with %d boundaries: %d pages with %d", c.boundaries, pages, len(joined))
		}
	}
}

// Rule 4: a store stands in for itself, for those it names and, if it says so,
// for any.
func TestRule4Replaced(t *testing.T) {
	self, old, other := wire.StoreID{ID: wire.ID{1}}, wire.StoreID{ID: wire.ID{2}}, wire.StoreID{ID: wire.ID{3}}
	w := wire.Welcome{Store: self, Replaces: []wire.StoreID{{ID: wire.ID{9}}, old}}
	same(t, []bool{w.Replaced(self), w.Replaced(old), w.Replaced(other), w.Replaced(wire.StoreID{})}, []bool{true, true, false, false})
	w.ReplacesAny = true
	same(t, w.Replaced(other), true)
}

func TestStreamStateLast(t *testing.T) {
	for next, want := range map[wire.Seq]wire.Seq{1: 0, 2: 1, wire.MaxSeq + 1: wire.MaxSeq} {
		s := wire.StreamState{Next: next}
		same(t, s.Last(), want)
	}
}

// AppendJSON is for this package's structs: what does not marshal is a bug.
func TestAppendJSONPanicsOnWhatIsNoFrame(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	wire.AppendJSON(nil, wire.TypeBye, func() {})
}
