package input

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fieldpost/fieldpost/wire"
)

// MaxNote is how many bytes an input may keep with a position.
const MaxNote = 256

// maxRecord is how many bytes a lane keeps of a checkpoint.
const maxRecord = 1 << 10

// record is what a lane's checkpoint says of a source: the last chunk that was
// begun. It is the same in all the chunk's lanes but for done.
type record struct {
	n        uint64 // number of the chunk, from 1
	from, to int64  // bytes of the source, to is exclusive
	done     int64  // the lane has all its bytes below this one; to, once it has all
	note     []byte // what the input keeps with to
	lanes    []string
	runs     []run // which bytes go where, from from on, without a gap
}

// run is bytes that go into one lane.
type run struct {
	lane int // of record.lanes; -1: nowhere, they had been accepted before
	size int64
}

// The encoding: version, n, from, to-from, done-from as uvarints; the note, its
// length in front; the number of lanes, each name with its length in front; then
// to the end the runs: lane+1 and size as uvarints.
const recordVersion = 1

func (r *record) append(b []byte) []byte {
	b = append(b, recordVersion)
	for _, v := range []uint64{r.n, uint64(r.from), uint64(r.to - r.from), uint64(r.done - r.from), uint64(len(r.note))} {
		b = binary.AppendUvarint(b, v)
	}
	b = append(b, r.note...)
	b = binary.AppendUvarint(b, uint64(len(r.lanes)))
	for _, name := range r.lanes {
		b = append(b, byte(len(name)))
		b = append(b, name...)
	}
	for _, x := range r.runs {
		b = binary.AppendUvarint(b, uint64(x.lane+1))
		b = binary.AppendUvarint(b, uint64(x.size))
	}
	return b
}

var errRecord = errors.New("a checkpoint that this version does not understand; start the newer version that wrote it, or move the lane's folder away to begin anew")

// parseRecord is the reverse of append. The result keeps nothing of b.
func parseRecord(b []byte) (*record, error) {
	if len(b) == 0 || b[0] != recordVersion {
		return nil, errRecord
	}
	p := parser{b: b[1:]}
	r := &record{n: p.uvarint(1<<63 - 1), from: int64(p.uvarint(1 << 61))}
	r.to = r.from + int64(p.uvarint(1<<61))
	r.done = r.from + int64(p.uvarint(1<<61))
	r.note = append(r.note, p.bytes(int(p.uvarint(MaxNote)))...)
	for range p.uvarint(maxRecord) {
		name := string(p.bytes(int(p.uvarint(64))))
		if p.bad || wire.CheckName("lane", name) != nil {
			return nil, errRecord
		}
		r.lanes = append(r.lanes, name)
	}
	at := r.from
	for len(p.b) > 0 && !p.bad {
		x := run{int(p.uvarint(uint64(len(r.lanes)))) - 1, int64(p.uvarint(1 << 61))}
		if x.size > r.to-at {
			return nil, errRecord
		}
		at += x.size
		r.runs = append(r.runs, x)
	}
	if p.bad || r.n == 0 || r.done > r.to || at > r.to || at < r.to && len(r.runs) > 0 || len(r.lanes) == 0 {
		return nil, errRecord
	}
	return r, nil
}

// parser reads values; after one that is not there all are zero, and bad is set.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 || v > most {
		p.b, p.bad = nil, true
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) bytes(n int) []byte {
	if n > len(p.b) {
		p.b, p.bad = nil, true
		return nil
	}
	b := p.b[:n]
	p.b = p.b[n:]
	return b
}

// rng is bytes of a source.
type rng struct{ from, to int64 }

// of returns the ranges of a lane's bytes from after on.
func (r *record) of(lane string, after int64) (list []rng) {
	at := r.from
	for _, x := range r.runs {
		from := max(at, after)
		at += x.size
		if x.lane < 0 || r.lanes[x.lane] != lane || from >= at {
			continue
		}
		if k := len(list) - 1; k >= 0 && list[k].to == from {
			list[k].to = at
			continue
		}
		list = append(list, rng{from, at})
	}
	return list
}

func (r *record) String() string {
	return fmt.Sprintf("chunk %d, bytes %d to %d", r.n, r.from, r.to)
}
