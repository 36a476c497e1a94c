package carry

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldpost/fieldpost/wire"
)

var update = flag.Bool("update", false, "write the golden files anew; a change of them is a change of the format")

func id(b byte) wire.ID { return wire.ID(bytes.Repeat([]byte{b}, 16)) }

func inc(b byte) wire.Incarnation { return wire.Incarnation{ID: id(b)} }

// data returns the numbers from to to of a lane, in a batch that begins at first.
func data(t testing.TB, lane wire.Lane, i wire.Incarnation, first, from, to wire.Seq) wire.Entry {
	t.Helper()
	var records []byte
	var err error
	for n := first; n <= to; n++ {
		if records, err = wire.AppendRecord(records, &wire.Message{Topic: "t", Time: time.Unix(int64(n), 0), Body: fmt.Append(nil, "message ", n)}); err != nil {
			t.Fatal(err)
		}
	}
	h := wire.BatchHeader{Lane: lane, Epoch: wire.Epoch{ID: id(7)}, Incarnation: i, First: first, Count: uint32(to - first + 1)}
	return wire.Entry{From: from, To: to, Incarnation: i, Batch: wire.AppendBatch(nil, h, records)}
}

// sample is a file with all there can be in one.
func sample(t testing.TB) (Manifest, [][]wire.Entry) {
	m := Manifest{
		Agent: "pump-7", Created: time.Unix(1_700_000_000, 7).UTC(), Software: "agent 1",
		Streams: []Stream{
			{Lane: "alarms", Epoch: wire.Epoch{ID: id(1)}, Next: 10, Start: 4, Oldest: 3, Before: 0x1234, Store: wire.StoreID{ID: id(9)}, Doubt: 2,
				Acked:      []Ack{{wire.StoreID{ID: id(8)}, 1}, {wire.StoreID{ID: id(9)}, 3}},
				Boundaries: wire.History{{Incarnation: inc(2), First: 1}, {Incarnation: inc(3), First: 6}}},
			{Lane: "default", Epoch: wire.Epoch{ID: id(4)}, Next: 1, Start: 1, Oldest: 1, Boundaries: wire.History{{Incarnation: inc(5), First: 1}}},
			{Lane: "default", Epoch: wire.Epoch{ID: id(6)}, Next: 3, Start: 1, Oldest: 1, Boundaries: wire.History{{Incarnation: inc(6), First: 1}}},
		},
	}
	return m, [][]wire.Entry{
		{data(t, "alarms", inc(2), 3, 4, 5), {From: 6, To: 7, Incarnation: inc(3), Reason: wire.ReasonExpired, Time: time.Unix(9, 0).UTC(), Fingerprint: 5, Detail: "too old"}, data(t, "alarms", inc(3), 9, 9, 9)},
		nil,
		{data(t, "default", inc(6), 1, 1, 2)},
	}
}

func write(t testing.TB, m Manifest, entries [][]wire.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newWriter(&b, m, nil, id(0xf1))
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range entries {
		for j := range list {
			if err := w.Entry(i, &list[j]); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := w.Close()
	if err != nil || s.Bytes != int64(b.Len()) {
		t.Fatalf("%+v, %v; %d bytes", s, err, b.Len())
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(text)); hex.EncodeToString(got) != want {
		t.Errorf("%s is\n%x\nwant\n%s", name, got, want)
	}
}

func TestGoldenFile(t *testing.T) {
	m, entries := sample(t)
	b := write(t, m, entries)
	golden(t, "file.hex", b)
	r, err := NewReader(bytes.NewReader(b), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Streams {
		m.Streams[i].Count = len(m.Streams[i].Boundaries)
	}
	if diff := cmp.Diff(&m, r.Manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	for i, list := range entries {
		for j := range list {
			stream, e, err := r.Next()
			if err != nil || stream != i {
				t.Fatalf("stream %d, %v", stream, err)
			}
			if diff := cmp.Diff(list[j], e); diff != "" {
				t.Errorf("entry (-want +got):\n%s", diff)
			}
		}
	}
	for range 2 {
		if _, _, err := r.Next(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	}
	if s := r.Summary(); s != (Summary{File: id(0xf1), Entries: 4, Numbers: 7, Bytes: int64(len(b))}) {
		t.Errorf("summary %+v", s)
	}
}

// Every bit that is flipped, every cut, and whatever stands behind the end is
// noticed, and nothing of it is a panic.
func TestDamageIsNoticed(t *testing.T) {
	b := write(t, firstOf(sample(t)), secondOf(sample(t)))
	for at := range b {
		c := bytes.Clone(b)
		c[at] ^= 1 << (at % 8)
		_, _, err := Verify(bytes.NewReader(c), nil)
		if !errors.Is(err, ErrDamaged) && !(at < 3 && errors.Is(err, ErrForeign)) && !(at == 3 && errors.Is(err, ErrVersion)) {
			t.Errorf("a bit of byte %d: %v", at, err)
		}
		_, _, err = Verify(bytes.NewReader(b[:at]), nil)
		if !errors.Is(err, ErrDamaged) && !(at < 4 && errors.Is(err, ErrForeign)) {
			t.Errorf("cut to %d bytes: %v", at, err)
		}
		if at >= 4 && !strings.Contains(err.Error(), fmt.Sprintf("byte %d: it ends here", at)) {
			t.Errorf("cut to %d bytes: %v, which does not say where", at, err)
		}
	}
	if _, _, err := Verify(bytes.NewReader(append(bytes.Clone(b), 0)), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte behind the end: %v", err)
	}
	if _, _, err := Verify(strings.NewReader("{\"agent\": 1}\n"), nil); !errors.Is(err, ErrForeign) {
		t.Errorf("a foreign file: %v", err)
	}
}

func firstOf(m Manifest, _ [][]wire.Entry) Manifest { return m }

func secondOf(_ Manifest, e [][]wire.Entry) [][]wire.Entry { return e }

// A block of another file does not fit, even if that file says the same.
func TestABlockOfAnotherFile(t *testing.T) {
	m, entries := sample(t)
	a := write(t, m, entries)
	var b bytes.Buffer
	w, err := newWriter(&b, m, nil, id(0xf2))
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range entries {
		for j := range list {
			w.Entry(i, &list[j])
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	half := len(a) / 2
	mixed := append(bytes.Clone(a[:half]), b.Bytes()[half:]...)
	if _, _, err := Verify(bytes.NewReader(mixed), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("two halves: %v", err)
	}
}

// What checksums cannot know: a file that was made wrong.
func TestAFileThatWasMadeWrong(t *testing.T) {
	for what, change := range map[string]func(*Manifest, [][]wire.Entry){
		"an entry behind next":         func(m *Manifest, _ [][]wire.Entry) { m.Streams[0].Next = 9 },
		"an entry before start":        func(m *Manifest, _ [][]wire.Entry) { m.Streams[0].Start = 5 },
		"entries in no order":          func(_ *Manifest, e [][]wire.Entry) { e[0][1], e[0][2] = e[0][2], e[0][1] },
		"an entry twice":               func(_ *Manifest, e [][]wire.Entry) { e[2] = append(e[2], e[2][0]) },
		"another incarnation":          func(_ *Manifest, e [][]wire.Entry) { e[2][0].Incarnation = inc(9) },
		"a boundary within an entry":   func(m *Manifest, _ [][]wire.Entry) { m.Streams[0].Boundaries[1].First = 5 },
		"a batch of another lane":      func(m *Manifest, _ [][]wire.Entry) { m.Streams[2].Lane = "other" },
		"a declaration":                func(_ *Manifest, e [][]wire.Entry) { e[0][1].Reason = wire.ReasonLostAtStore },
		"an unknown reason":            func(_ *Manifest, e [][]wire.Entry) { e[0][1].Reason = 99 },
		"a batch cut off":              func(_ *Manifest, e [][]wire.Entry) { e[2][0].Batch = e[2][0].Batch[:len(e[2][0].Batch)-1] },
		"a history that does not rise": func(m *Manifest, _ [][]wire.Entry) { m.Streams[0].Boundaries[1].First = 1 },
	} {
		m, entries := sample(t)
		change(&m, entries)
		if _, _, err := Verify(bytes.NewReader(write(t, m, entries)), nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(*Manifest){
		"no agent":         func(m *Manifest) { m.Agent = "" },
		"no epoch":         func(m *Manifest) { m.Streams[0].Epoch = wire.Epoch{} },
		"no boundary":      func(m *Manifest) { m.Streams[0].Boundaries = nil },
		"a stream twice":   func(m *Manifest) { m.Streams[2].Epoch = m.Streams[1].Epoch },
		"acks in no order": func(m *Manifest) { m.Streams[0].Acked[1].Upto = 1 },
		"oldest beyond":    func(m *Manifest) { m.Streams[0].Oldest = 11 },
		"next is zero":     func(m *Manifest) { m.Streams[0].Next = 0 },
	} {
		m, _ := sample(t)
		change(&m)
		if _, err := NewWriter(io.Discard, m, nil); err == nil {
			t.Errorf("%s: written", what)
		}
	}
}

// A long history is told in several blocks.
func TestALongHistory(t *testing.T) {
	m := Manifest{Agent: "a", Streams: []Stream{{Lane: "default", Epoch: wire.Epoch{ID: id(1)}, Next: 20_001, Start: 20_001, Oldest: 20_001}}}
	s := &m.Streams[0]
	for n := wire.Seq(1); n <= 20_000; n++ {
		s.Boundaries = append(s.Boundaries, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.NewID()}, First: n})
	}
	got, _, err := Verify(bytes.NewReader(write(t, m, nil)), nil)
	if err != nil || !cmp.Equal(got.Streams[0].Boundaries, s.Boundaries) {
		t.Errorf("%d boundaries, %v", len(got.Streams[0].Boundaries), err)
	}
	s.Boundaries = make(wire.History, MaxBoundaries+1)
	if _, err := NewWriter(io.Discard, m, nil); err == nil {
		t.Error("a history beyond the limit is written")
	}
}

func sampleReceipt() Receipt {
	return Receipt{
		File: id(0xf1), Agent: "pump-7", Store: wire.StoreID{ID: id(9)}, Replaces: []wire.StoreID{{ID: id(8)}}, Time: time.Unix(1_700_000_000, 7).UTC(),
		Streams: []Settled{
			{Lane: "alarms", Epoch: wire.Epoch{ID: id(1)}, W: 9, Incarnation: inc(3), Fingerprint: 0x55, Stored: 3, Tombstoned: 2, Known: 1,
				Rejected: &Rejected{Number: 10, Incarnation: inc(3), Fingerprint: 0x66, Why: "no <such> topic"}},
			{Lane: "default", Epoch: wire.Epoch{ID: id(4)}},
		},
	}
}

func TestGoldenReceipt(t *testing.T) {
	r := sampleReceipt()
	b, err := r.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "receipt.hex", b)
	got, _, err := ParseReceipt(bytes.NewReader(b))
	if diff := cmp.Diff(r, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if !got.Replaced(wire.StoreID{ID: id(8)}) || !got.Replaced(r.Store) || got.Replaced(wire.StoreID{ID: id(7)}) {
		t.Error("the store stands in for others than the receipt says")
	}
	for at := range b {
		c := bytes.Clone(b)
		c[at] ^= 1
		if _, _, err := ParseReceipt(bytes.NewReader(c)); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if _, _, err := ParseReceipt(bytes.NewReader(b[:at])); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", at, err)
		}
	}
	if _, _, err := ParseReceipt(strings.NewReader("fieldpost-receipt 2\n")); !errors.Is(err, ErrVersion) {
		t.Errorf("a later version: %v", err)
	}
	if _, _, err := ParseReceipt(io.MultiReader(bytes.NewReader(b), strings.NewReader("more\n"))); !errors.Is(err, ErrDamaged) {
		t.Errorf("something behind it: %v", err)
	}
	for what, change := range map[string]func(*Receipt){
		"no store":                   func(r *Receipt) { r.Store = wire.StoreID{} },
		"a refusal that is not next": func(r *Receipt) { r.Streams[0].Rejected.Number = 12 },
		"W without an incarnation":   func(r *Receipt) { r.Streams[0].Incarnation = wire.Incarnation{} },
		"a lane that is none":        func(r *Receipt) { r.Streams[1].Lane = "a/b" },
	} {
		r := sampleReceipt()
		change(&r)
		if _, err := r.Marshal(nil, nil); err == nil {
			t.Errorf("%s: written", what)
		}
	}
}

func FuzzReader(f *testing.F) {
	b := write(f, firstOf(sample(f)), secondOf(sample(f)))
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte(magic))
	sealed, _ := signed(f, newSigner(1), 0)
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b), nil)
		for err == nil {
			_, _, err = r.Next()
		}
		if err != io.EOF && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrVersion) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzParseReceipt(f *testing.F) {
	r := sampleReceipt()
	b, err := r.Marshal(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:40])
	s := newSigner(1)
	if b, err = r.Marshal(s.certificates(), s.sign); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _, err := ParseReceipt(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := r.Marshal(nil, nil)
		if err != nil {
			t.Fatalf("parsed, and not written again: %v", err)
		}
		if got, _, err := ParseReceipt(bytes.NewReader(again)); err != nil || !cmp.Equal(got, r) {
			t.Fatalf("written again: %v", err)
		}
	})
}
