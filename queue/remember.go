package queue

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/wire"
)

// A search for records reads a file in windows that overlap by the largest record
// it can find.
const (
	recordWindow = 8 << 20
	recordMost   = 1 << 20
)

// remembered is what a search of a damaged file's bytes finds of its records.
// Older ones lie beside the newest, in pages that are not in use any more.
type remembered struct {
	head  head
	whole bool // a head was found
	tip   []byte
	tx    uint64 // of tip
	link  []byte
	drops []byte
	mark  linkMark // of link
	ever  uint64   // of drops: numbers ever dropped, letters ever kept
}

// linkMark orders links: each opening adds a boundary behind the others.
type linkMark struct {
	first  wire.Seq // of the newest boundary
	bounds int
	forks  uint64
}

func (m linkMark) less(o linkMark) bool {
	if m.first != o.first {
		return m.first < o.first
	}
	if m.forks != o.forks {
		return m.forks < o.forks
	}
	return m.bounds < o.bounds
}

// remember searches a segment file for the records of its state, without
// trusting any page. false: there are not enough of them.
func (r *recovery) remember(seg segment) (s state, h head, ok bool) {
	f, err := os.Open(filepath.Join(r.dir, seg.name()))
	if err != nil {
		return s, h, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return s, h, false
	}
	var m remembered
	buf := make([]byte, min(recordWindow, info.Size()))
	for pos := int64(0); pos < info.Size(); pos += recordWindow - recordMost {
		n, _ := readSkipping(f, buf, pos) // what cannot be read is zeros
		m.look(buf[:n], r, seg)
		if n < len(buf) {
			break
		}
	}
	if !m.whole || m.tip == nil || m.link == nil || m.drops == nil {
		return s, h, false
	}
	_, err = s.parseTip(m.tip)
	if err == nil {
		err = s.parseLink(m.link)
	}
	if err == nil {
		err = s.parseDrops(m.drops)
	}
	if err == nil {
		err = s.check()
	}
	s.clean = false
	return s, m.head, err == nil
}

// look takes over the newest records in b.
func (m *remembered) look(b []byte, r *recovery, seg segment) {
	magic := []byte(recordMagic)
	for i := 0; ; i++ {
		k := bytes.Index(b[i:], magic)
		if k < 0 || i+k+len(magic) >= len(b) {
			return
		}
		i += k
		rest := b[i:]
		switch rest[len(magic)] {
		case 'h':
			h, err := parseHead(record(rest))
			if err == nil && h.agent == r.agent && h.lane == r.lane && h.ordinal == seg.ordinal && h.first == seg.first {
				m.head, m.whole = h, true
			}
		case 't':
			if len(rest) < 13 || m.tip != nil && binary.BigEndian.Uint64(rest[5:]) <= m.tx {
				continue
			}
			if t := record(rest); t != nil {
				m.tip, m.tx = bytes.Clone(t), binary.BigEndian.Uint64(t[5:])
			}
		case 'l':
			var s state
			l := record(rest)
			if l == nil || s.parseLink(l) != nil || len(s.history) == 0 {
				continue
			}
			mark := linkMark{s.history[len(s.history)-1].First, len(s.history), s.forks}
			if m.link == nil || m.mark.less(mark) {
				m.link, m.mark = bytes.Clone(l), mark
			}
		case 'd':
			var s state
			d := record(rest)
			if d == nil || s.parseDrops(d) != nil {
				continue
			}
			ever := s.dead
			for _, n := range s.dropped {
				ever += n
			}
			if m.drops == nil || ever > m.ever {
				m.drops, m.ever = bytes.Clone(d), ever
			}
		}
	}
}

// record returns the record at the beginning of b, nil if there is none: it goes
// to where its own checksum follows.
func record(b []byte) []byte {
	const least = len(recordMagic) + 1
	sum := crc32.Checksum(b[:min(least, len(b))], wire.Castagnoli)
	for n := least; n+4 <= len(b) && n < recordMost; n++ {
		if binary.BigEndian.Uint32(b[n:]) == sum {
			return b[:n+4]
		}
		sum = crc32.Update(sum, wire.Castagnoli, b[n:n+1])
	}
	return nil
}
