package journal

import (
	"bytes"
	"testing"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// FuzzScan reads any bytes as a segment's records. What parses must be made of
// the same bytes when it is written again, holes and records must cover the
// input, and nothing may panic.
func FuzzScan(f *testing.F) {
	store := wire.StoreID{ID: fixedID(0x5d)}
	g := &group{seed: seed(store), state: agents{}, staged: agents{}, index: 1, open: -1}
	for _, e := range goldenEvents() {
		if v, ok := e.(*settled); ok {
			v.complete()
		}
		g.add(e)
	}
	g.seal()
	f.Add(g.buf)
	f.Add(g.buf[100:])
	f.Add(append(bytes.Repeat([]byte(recordMagic), 9), g.buf...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScanner(bytes.NewReader(b), seed(store), 0, int64(len(b)), 0)
		at := int64(0)
		for s.next() {
			if s.bad != nil {
				if s.bad.off != at || s.bad.end <= at {
					t.Fatalf("hole %d to %d at %d", s.bad.off, s.bad.end, at)
				}
				at = s.bad.end
				continue
			}
			if s.rec.off != at {
				t.Fatalf("record at %d, expected at %d", s.rec.off, at)
			}
			at = s.rec.end
			if e, err := parseEvent(s.rec.kind, s.rec.payload); err == nil {
				again := e.append(nil)
				if f, err := parseEvent(s.rec.kind, again); err != nil || f.agent() != e.agent() {
					t.Fatalf("written again it does not parse: %v", err)
				}
			}
		}
		if s.err != nil || at != int64(len(b)) {
			t.Fatalf("ended at %d of %d: %v", at, len(b), s.err)
		}
	})
}

// FuzzEvent reads any bytes as the payload of each kind: what checksums protect
// from a disk, but not from a program.
func FuzzEvent(f *testing.F) {
	for _, e := range goldenEvents() {
		f.Add(e.kind(), e.append(nil))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		e, err := parseEvent(kind, b)
		if err != nil {
			return
		}
		if v, ok := e.(*settled); ok {
			v.complete()
		}
		m := agents{}
		m.apply(e)
		m.apply(e) // a journal that is damaged may say anything twice
		if _, err := parseSnapshot(m.appendSnapshot(nil), ledger.SnapshotVersion); err != nil {
			t.Fatalf("a state that was read cannot be written: %v", err)
		}
	})
}

// FuzzSnapshot reads any bytes as a snapshot.
func FuzzSnapshot(f *testing.F) {
	m := agents{}
	for _, e := range goldenEvents() {
		if v, ok := e.(*settled); ok {
			v.complete()
		}
		m.apply(e)
	}
	f.Add(m.appendSnapshot(nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseSnapshot(b, ledger.SnapshotVersion)
		if err != nil {
			return
		}
		// What parses is what is written, in whatever order it stood.
		again := m.appendSnapshot(nil)
		n, err := parseSnapshot(again, ledger.SnapshotVersion)
		if err != nil || !bytes.Equal(n.appendSnapshot(nil), again) {
			t.Fatalf("written again it does not parse: %v", err)
		}
		for _, a := range m {
			a.Unexplained()
			a.Backlog()
		}
	})
}
