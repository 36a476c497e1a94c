package carry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Version is the format version of a carry file that is signed; one without
// signatures has version 1.
const Version = 2

var (
	// ErrForeign is returned for what is no carry file, or no receipt, at all.
	ErrForeign = errors.New("not a file of this kind")
	// ErrVersion is returned for a file of another version.
	ErrVersion = errors.New("made by another version")
	// ErrDamaged is returned for a file that is not as it was written; the text says
	// where.
	ErrDamaged = errors.New("the file is damaged")
	// ErrSignature is returned for a file that was changed on purpose: it is whole, and
	// its signature is not that of whom it names.
	ErrSignature = errors.New("the signature is not good")
)

// A carry file begins with a head; numbers are big-endian:
//
//	offset  size  field
//	     0     4  magic "FPC" and the format version, 1, or 2 if it is signed
//	     4     4  zero
//	     8    16  file id, random
//	    24     4  CRC-32C of the bytes before
//
// Then blocks:
//
//	offset  size  field
//	     0     1  kind
//	     1     3  zero
//	     4     4  size N of the payload
//	     8     4  CRC-32C of the file id, bytes 0 to 7 and the payload
//	    12     N  payload
//
// One manifest, then histories, then entries, then one end, and nothing behind it. In
// a file that is signed a signature stands behind the histories, behind each few
// megabytes of entries, and, marked as the last, before the end: what a reader hands
// out has been signed by whom the manifest's certificate names.
const (
	magic     = "FPC"
	headSize  = 28
	blockHead = 12
)

// The kinds of blocks, with their payloads.
const (
	kindManifest  = 1 // JSON
	kindHistory   = 2 // stream 4, then boundaries: incarnation 16, first 8
	kindEntry     = 3 // stream 4, entry head as on the link, batch
	kindSignature = 5 // last 1: it is that before the end; signature
	kindEnd       = 4 // entries 8, numbers 8, SHA-256 of all bytes of the file before this block 32
)

// Limits of a carry file.
const (
	MaxBoundaries = 1 << 20 // of all streams together

	maxManifest = 4 << 20
	pageBounds  = 4096
	boundSize   = 24
	endSize     = 8 + 8 + 32
	maxEntry    = 4 + 512 + wire.MaxBatchSize
	maxSigned   = 1 + 1024 // a signature's payload

	signEvery   = 4 << 20                // bytes of entries, and a signature is due
	maxUnsigned = signEvery + 2*maxEntry // that a reader keeps until one comes
)

// limit returns the most bytes that a block's payload may have.
func limit(kind byte) int {
	switch kind {
	case kindManifest:
		return maxManifest
	case kindHistory:
		return 4 + pageBounds*boundSize
	case kindEntry:
		return maxEntry
	case kindEnd:
		return endSize
	case kindSignature:
		return maxSigned
	}
	return 0
}

// Manifest says whose file it is, and what it tells of each stream.
type Manifest struct {
	Agent    wire.AgentID `json:"agent"`
	Created  time.Time    `json:"created"`  // by the agent's clock
	Software string       `json:"software"` // for people
	Streams  []Stream     `json:"streams"`  // of a lane the oldest first

	// Certificates are the agent's, and those that lead up to its authority, in DER. If
	// there are none the file is not signed.
	Certificates [][]byte `json:"certificates,omitempty"`
}

// Stream is what a carry file tells of a stream: what the agent had synced when
// the export began.
type Stream struct {
	Lane   wire.Lane        `json:"lane"`
	Epoch  wire.Epoch       `json:"epoch"`
	Next   wire.Seq         `json:"next"`             // the file holds numbers below it
	Start  wire.Seq         `json:"start"`            // and from here on, if there are any
	Oldest wire.Seq         `json:"oldest"`           // the oldest number that the agent held
	Before wire.Fingerprint `json:"before,omitempty"` // of number Start-1, 0 if not known
	Store  wire.StoreID     `json:"store,omitzero"`   // the store that the lane obeyed, zero: none yet
	Acked  []Ack            `json:"acked,omitempty"`  // by which stores, ascending
	Doubt  wire.Seq         `json:"doubt,omitempty"`  // numbers up to here that the agent had deleted may be doubled
	Count  int              `json:"boundaries"`       // in the history, which follows in blocks

	Boundaries wire.History `json:"-"`
}

// Ack says that a store had acked the numbers up to Upto, above the Ack before it.
type Ack struct {
	Store wire.StoreID `json:"store"`
	Upto  wire.Seq     `json:"upto"`
}

// State returns the stream as a hello would tell it, with all its boundaries.
func (s *Stream) State() wire.StreamState {
	st := wire.StreamState{Lane: s.Lane, Epoch: s.Epoch, Next: s.Next, Boundaries: s.Boundaries}
	if k := len(s.Acked); k > 0 {
		st.Acked = s.Acked[k-1].Upto
	}
	return st
}

// check verifies what a manifest says of a stream, its history apart.
func (s *Stream) check() error {
	if err := wire.CheckName("lane", string(s.Lane)); err != nil {
		return err
	}
	switch {
	case s.Epoch.IsZero():
		return fmt.Errorf("lane %s: a stream without an epoch", s.Lane)
	case s.Next == 0 || s.Next > wire.MaxSeq+1 || s.Oldest == 0 || s.Oldest > s.Next || s.Start == 0 || s.Start > s.Next || s.Doubt >= s.Next:
		return fmt.Errorf("lane %s: from %d, the oldest held %d, next %d, in doubt up to %d: these do not go together", s.Lane, s.Start, s.Oldest, s.Next, s.Doubt)
	case s.Count < 1 || s.Count > MaxBoundaries:
		return fmt.Errorf("lane %s: %d boundaries, an opened lane has 1, and %d are the limit", s.Lane, s.Count, MaxBoundaries)
	}
	for i, a := range s.Acked {
		if a.Store.IsZero() || a.Upto == 0 || a.Upto >= s.Next || i > 0 && a.Upto <= s.Acked[i-1].Upto {
			return fmt.Errorf("lane %s: acked %d by store %s: not in order, or beyond the stream", s.Lane, a.Upto, a.Store)
		}
	}
	return nil
}

// check verifies a manifest that was read.
func (m *Manifest) check() error {
	if err := wire.CheckName("agent id", string(m.Agent)); err != nil {
		return err
	}
	if len(m.Streams) > wire.MaxStreams {
		return fmt.Errorf("%d streams, the limit is %d", len(m.Streams), wire.MaxStreams)
	}
	total := 0
	for i := range m.Streams {
		s := &m.Streams[i]
		if err := s.check(); err != nil {
			return err
		}
		if total += s.Count; total > MaxBoundaries {
			return fmt.Errorf("more than %d boundaries in all", MaxBoundaries)
		}
		for _, o := range m.Streams[:i] {
			if o.Lane == s.Lane && o.Epoch == s.Epoch {
				return fmt.Errorf("lane %s: epoch %s is there twice", s.Lane, s.Epoch)
			}
		}
	}
	return nil
}

// Summary is what a file holds.
type Summary struct {
	File    wire.ID
	Entries uint64
	Numbers uint64
	Bytes   int64
}

func blockCRC(seed uint32, head, payload []byte) uint32 {
	return crc32.Update(crc32.Update(seed, wire.Castagnoli, head[:8]), wire.Castagnoli, payload)
}

func seedOf(id wire.ID) uint32 { return crc32.Checksum(id[:], wire.Castagnoli) }

// appendHead appends a file's head.
func appendHead(dst []byte, version byte, id wire.ID) []byte {
	dst = append(dst, magic...)
	dst = append(dst, version, 0, 0, 0, 0)
	dst = append(dst, id[:]...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[len(dst)-headSize+4:], wire.Castagnoli))
}
