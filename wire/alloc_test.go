package wire_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// allocated returns how many bytes f allocates: the least of several runs, as
// the test's own runtime allocates too.
func allocated(f func()) uint64 {
	var runs []uint64
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		runs = append(runs, after.TotalAlloc-before.TotalAlloc)
	}
	return slices.Min(runs)
}

// "A receiver MUST check the declared sizes before it allocates": what each of
// these declares is far more than what it brings, and it is refused for less
// than a page or what was brought.
func TestNothingIsAllocatedForAPromise(t *testing.T) {
	const little = 2048 // an error and its text
	claim := func(typ wire.Type, n uint32, bring int) []byte {
		b := wire.BeginFrame(nil, typ)
		binary.BigEndian.PutUint32(b, n)
		return append(b, make([]byte, bring)...)
	}
	read := func(b []byte) func() error {
		return func() error { _, _, _, err := wire.ReadFrame(bytes.NewReader(b), nil, wire.MaxFrame); return err }
	}
	batch := func(change func([]byte) []byte) func() error {
		b := resum(change(golden(t, goldenBatch)))
		return func() error { _, err := wire.ParseBatch(b); return err }
	}
	record := func(r wire.Record) func() error {
		return func() error { _, err := r.Message(); return err }
	}
	entry := func(b []byte) func() error {
		return func() error { _, _, _, err := wire.ParseEntry(b); return err }
	}
	control := func(v any, text string) func() error {
		p := []byte(text)
		return func() error { return wire.ParseJSON(wire.TypeHistory, p, v) }
	}
	head := make([]byte, 8)
	for _, c := range []struct {
		name  string
		parse func() error
		most  uint64
	}{
		{"frame of 4 GiB", read(claim(wire.TypeData, math.MaxUint32, 0)), little},
		{"frame above the limit by one", read(claim(wire.TypeData, wire.MaxFrame+1, 0)), little},
		{"frame of 1 MiB that brings nothing", read(claim(wire.TypeData, wire.MaxFrame, 0)), 36 << 10},
		{"frame of 1 MiB that brings a byte", read(claim(wire.TypeData, wire.MaxFrame, 1)), 36 << 10},
		{"frame of 1 MiB that brings 40 KiB", read(claim(wire.TypeData, wire.MaxFrame, 40<<10)), 170 << 10},
		{"batch that declares 4 GiB stored", batch(put32(56, math.MaxUint32)), little},
		{"batch that declares 4 GiB raw", batch(put32(52, math.MaxUint32)), little},
		{"batch of 4 billion records", batch(put32(48, math.MaxUint32)), little},
		{"batch of another codec, 4 GiB raw", batch(func(b []byte) []byte { b[4] = 2; return put32(52, math.MaxUint32)(b) }), little},
		{"record of 2^63 bytes", func() error { _, _, err := wire.NextRecord(varint(1<<63, 10)); return err }, little},
		{"topic of 2^63 bytes", record(append(head, varint(1<<63, 10)...)), little},
		{"64 headers in no bytes", record(append(head, 0, 64)), little},
		{"2^63 headers", record(append(append(head, 0), varint(1<<63, 10)...)), little},
		{"header key of 4096 bytes", record(append(append(head, 0, 1), varint(4096, 2)...)), little},
		{"entry with a batch of 4 GiB", entry(put32(34, math.MaxUint32)(golden(t, goldenDataHead))), little},
		{"tombstone with a detail of 64 KiB", entry(fill(51, 2, 0xff)(golden(t, goldenBareTombstone))), little},
		{"ping of 65535 announcements", func() error { _, _, err := wire.ParsePing(fill(8, 2, 0xff)(make([]byte, 38))); return err }, little},
		{"history page of empty boundaries", control(new(wire.StreamState), `{"boundaries":[`+strings.Repeat(`"",`, wire.MaxPage/3-10)+`""]}`), 64 << 10},
		{"agent id of 4 KiB", control(new(wire.Hello), `{"agent":"`+strings.Repeat("x", wire.MaxHello-12)+`"}`), 16 << 10},
		{"depth of a page", control(new(wire.StreamState), strings.Repeat("[", wire.MaxPage)), 640 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.parse(); err == nil {
				t.Error("it is taken")
			}
			if n := allocated(func() { _ = c.parse() }); n > c.most {
				t.Errorf("%d bytes allocated, want at most %d", n, c.most)
			}
		})
	}
}

// A whole history page costs its collector no more than a few times its bytes.
func TestPageCostsWhatItBrings(t *testing.T) {
	h := make(wire.History, wire.MaxPageBounds)
	for i := range h {
		h[i] = bound(i+1, wire.Seq(i+1))
	}
	s := goodState()
	s.Next, s.Boundaries = 2000, h
	_, p, _, err := wire.ReadFrame(bytes.NewReader(wire.AppendHistory(nil, s)), nil, wire.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	if n := allocated(func() {
		if err := wire.ParseJSON(wire.TypeHistory, p, new(wire.StreamState)); err != nil {
			t.Error(err)
		}
	}); n > 8*uint64(len(p)) {
		t.Errorf("%d bytes allocated for a page of %d", n, len(p))
	}
}

// The hot paths, once their buffers have grown.
func TestHotPathsDoNotAllocate(t *testing.T) {
	m := goldenFirst
	batch := golden(t, goldenBatch)
	entry := goldenEntries(t)[goldenDataHead]
	records := append(golden(t, goldenFirstRecord), golden(t, goldenSecondRecord)...)
	frames := wire.AppendData(nil, 3, &entry, 100)
	buf := make([]byte, 0, 4096)
	in := bytes.NewReader(nil)
	for name, f := range map[string]func(){
		"AppendRecord": func() { _, _ = wire.AppendRecord(buf, &m) },
		"AppendBatch":  func() { wire.AppendBatch(buf, goldenHeader, records) },
		"AppendData":   func() { wire.AppendData(buf, 3, &entry, 100) },
		"AppendAck":    func() { wire.AppendAck(buf, 3, 4) },
		"Check of all records": func() {
			b, err := wire.ParseBatch(batch)
			if err != nil || b.Check() != nil {
				t.Error(err)
			}
		},
		"ReadFrame": func() {
			in.Reset(frames)
			for in.Len() > 0 {
				if _, _, _, err := wire.ReadFrame(in, buf, wire.MaxFrame); err != nil && err != io.EOF {
					t.Error(err)
				}
			}
		},
	} {
		// The lane's name of a parsed batch is one string.
		most := 0.0
		if name == "Check of all records" {
			most = 1
		}
		if n := testing.AllocsPerRun(100, f); n > most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, most)
		}
	}
}
