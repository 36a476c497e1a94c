package journal

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// sick is a file of which some pages cannot be read, for a number of tries.
type sick struct {
	*bytes.Reader
	pages map[int64]int // tries that fail; negative: all
}

var errSick = errors.New("input/output error")

func (s *sick) ReadAt(b []byte, off int64) (int, error) {
	for p := off / readPage; p*readPage < off+int64(len(b)); p++ {
		if n := s.pages[p]; n != 0 {
			s.pages[p] = n - 1
			return 0, errSick
		}
	}
	return s.Reader.ReadAt(b, off)
}

func TestAReadThatFailsForAMomentIsReadAgain(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 2048)
	s := &sick{bytes.NewReader(content), map[int64]int{1: 2}}
	b := make([]byte, 10000)
	if n, err := readAt(s, b, 100, false); n != len(b) || err != nil || !bytes.Equal(b, content[100:10100]) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestALossyReadingLosesOnlyThePagesThatCannotBeRead(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 2048)
	bad := func() *sick { return &sick{bytes.NewReader(content), map[int64]int{1: -1, 3: -1}} }
	b := make([]byte, 40000)
	if _, err := readAt(bad(), b, 100, false); !errors.Is(err, errSick) {
		t.Errorf("a strict reading gives %v", err)
	}
	n, err := readAt(bad(), b, 100, true)
	if n != len(content)-100 || !errors.Is(err, io.EOF) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	want := bytes.Clone(content)
	clear(want[readPage : 2*readPage])
	clear(want[3*readPage : 4*readPage])
	if !bytes.Equal(b[:n], want[100:]) {
		t.Error("other bytes are lost, or others given")
	}
}

// The scanner finds what lies behind a page that cannot be read.
func TestAScanGoesOnBehindAPageThatCannotBeRead(t *testing.T) {
	store := wire.StoreID{ID: wire.NewID()}
	g := &group{seed: seed(store), state: agents{}, staged: agents{}, index: 1, open: -1}
	c := newClient("pump-7")
	for n := range wire.Seq(40) {
		e := &settled{id: c.id, stream: c.stream(), entry: c.entry(n+1, n+1)}
		e.complete()
		g.add(e)
	}
	g.seal()
	s := newScanner(readerAt(func(b []byte, off int64) (int, error) {
		return readAt(&sick{bytes.NewReader(g.buf), map[int64]int{1: -1}}, b, off, true)
	}), seed(store), 0, int64(len(g.buf)), 0)
	good, holes := 0, 0
	for s.next() {
		if s.bad != nil {
			holes++
		} else {
			good++
		}
	}
	if s.err != nil || holes != 1 || good < 20 || good > 39 {
		t.Errorf("%d records, %d holes, %v", good, holes, s.err)
	}
}

type readerAt func(b []byte, off int64) (int, error)

func (f readerAt) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }
