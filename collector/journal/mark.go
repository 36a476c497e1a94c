package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/wire"
)

// mark says how far the journal is synced. It is written into the file "synced"
// after each successful fsync and before anyone learns of it, and is not synced
// itself: other processes see it at once, and after a power cut it may be an
// older one, never one that says too much. Numbers are big-endian:
//
//	offset  size  field
//	     0     4  magic "FPS" and the format version, 1
//	     4     4  CRC-32C of the bytes behind
//	     8    16  boot id of the machine when it was written, zero if it has none
//	    24     8  ordinal of the newest segment
//	    32     8  its synced length
//	    40     8  index of the last record
//	    48    24  summary of that record
type mark struct {
	boot    wire.ID
	ordinal uint64
	length  int64
	index   uint64
	last    summary
}

const (
	markMagic = "FPS\x01"
	markSize  = 72
)

func (m *mark) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, markMagic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, m.boot[:]...)
	dst = binary.BigEndian.AppendUint64(dst, m.ordinal)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.length))
	dst = binary.BigEndian.AppendUint64(dst, m.index)
	dst = m.last.append(dst)
	binary.BigEndian.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], wire.Castagnoli))
	return dst
}

var errNoMark = errors.New("no mark")

func parseMark(b []byte) (mark, error) {
	switch {
	case len(b) == 0:
		return mark{}, errNoMark
	case len(b) != markSize || string(b[:4]) != markMagic:
		return mark{}, fmt.Errorf("%d bytes that are no mark", len(b))
	case binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[8:], wire.Castagnoli):
		return mark{}, errors.New("a mark with a wrong checksum")
	}
	m := mark{
		boot:    wire.ID(b[8:24]),
		ordinal: binary.BigEndian.Uint64(b[24:]),
		length:  int64(binary.BigEndian.Uint64(b[32:])),
		index:   binary.BigEndian.Uint64(b[40:]),
		last:    parseSummary(b[48:]),
	}
	if m.ordinal == 0 || m.length < headSize {
		return mark{}, fmt.Errorf("a mark of segment %d, length %d", m.ordinal, m.length)
	}
	return m, nil
}

// readMark reads the mark of a folder; errNoMark if there is none. A collector
// may be writing it just now: a torn one is read again.
func readMark(dir string) (m mark, err error) {
	path := filepath.Join(dir, markName)
	for range 100 {
		b, rerr := os.ReadFile(path)
		if os.IsNotExist(rerr) {
			return mark{}, errNoMark
		}
		if rerr != nil {
			return mark{}, rerr
		}
		if m, err = parseMark(b); err == nil || errors.Is(err, errNoMark) {
			return m, err
		}
	}
	return mark{}, fmt.Errorf("%s: %w", path, err)
}
