package carry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

// ReceiptVersion is the receipt's format version.
const ReceiptVersion = 1

// MaxReceipt is the most bytes of a receipt.
const MaxReceipt = 4 << 20

// Receipt says what a store has of the streams of a carry file. To the agent it is
// what acks are on a link.
type Receipt struct {
	File        wire.ID        `json:"file"` // the carry file's id
	Agent       wire.AgentID   `json:"agent"`
	Store       wire.StoreID   `json:"store"`
	Replaces    []wire.StoreID `json:"replaces,omitempty"`     // stores that this one stands in for
	ReplacesAny bool           `json:"replaces_any,omitempty"` // it stands in for whatever store
	Time        time.Time      `json:"time"`                   // by the collector's clock
	Streams     []Settled      `json:"streams"`
}

// Settled is what the store has of one stream.
type Settled struct {
	Lane        wire.Lane        `json:"lane"`
	Epoch       wire.Epoch       `json:"epoch"`                 // as the carry file has it
	W           wire.Seq         `json:"w"`                     // all numbers up to it are settled
	Incarnation wire.Incarnation `json:"incarnation,omitzero"`  // that wrote W; zero if W is 0
	Fingerprint wire.Fingerprint `json:"fingerprint,omitempty"` // of number W, 0 if the store does not know it
	Stored      uint64           `json:"stored"`                // numbers that this import has stored
	Tombstoned  uint64           `json:"tombstoned"`            // numbers that it has recorded as dropped or declared
	Known       uint64           `json:"known"`                 // numbers of the file that the store had before
	Rejected    *Rejected        `json:"rejected,omitempty"`    // where the import of this stream has ended
}

// Rejected is a number that the store refuses for good.
type Rejected struct {
	Number      wire.Seq         `json:"number"`
	Incarnation wire.Incarnation `json:"incarnation"`
	Fingerprint wire.Fingerprint `json:"fingerprint"`
	Why         string           `json:"why"`
}

// Replaced reports whether the store stands in for old.
func (r *Receipt) Replaced(old wire.StoreID) bool {
	w := wire.Welcome{Store: r.Store, Replaces: r.Replaces, ReplacesAny: r.ReplacesAny}
	return w.Replaced(old)
}

// Proof is what a receipt was signed with. The zero Proof: it was not.
type Proof struct {
	Certificates [][]byte // the collector's, and those that lead up to its authority, in DER
	Message      []byte   // what was signed
	Signature    []byte
}

// Signed reports whether there is a signature. Whether it is good is for the caller
// to find out.
func (p *Proof) Signed() bool { return len(p.Signature) > 0 }

// A receipt is text of three lines: what it is and its version, the receipt as
// JSON, the SHA-256 of the lines before; and if it is signed a fourth: the signature of
// the lines before, and the certificates, in base64.
const (
	receiptHead   = "fieldpost-receipt "
	signatureHead = "signature "
)

// receiptMessage is what is signed of a receipt.
func receiptMessage(lines []byte) []byte {
	sum := sha256.Sum256(lines)
	return append([]byte("fieldpost receipt\x00"), sum[:]...)
}

// Marshal returns the receipt as a file holds it, signed with the key of the first
// certificate; with a nil sign it is not signed.
func (r *Receipt) Marshal(certificates [][]byte, sign Signer) ([]byte, error) {
	b, err := r.marshal()
	if err != nil || sign == nil {
		return b, err
	}
	s, err := sign(receiptMessage(b))
	if err != nil {
		return nil, fmt.Errorf("receipt: sign it: %w", err)
	}
	b = fmt.Appendf(b, "%s%s", signatureHead, base64.StdEncoding.EncodeToString(s))
	for _, c := range certificates {
		b = fmt.Appendf(b, " %s", base64.StdEncoding.EncodeToString(c))
	}
	return append(b, '\n'), nil
}

func (r *Receipt) marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	b := fmt.Appendf(nil, "%s%d\n", receiptHead, ReceiptVersion)
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	b = append(append(b, text...), '\n')
	sum := sha256.Sum256(b)
	return fmt.Appendf(b, "sha256 %x\n", sum), nil
}

// ParseReceipt reads a receipt, and what it was signed with. The errors are
// [ErrForeign], [ErrVersion], [ErrDamaged], and those of the reader.
func ParseReceipt(from io.Reader) (Receipt, Proof, error) {
	b, err := io.ReadAll(io.LimitReader(from, MaxReceipt+1))
	var r Receipt
	var p Proof
	if err == nil {
		r, p, err = parseReceipt(b)
	}
	if err != nil {
		return Receipt{}, Proof{}, fmt.Errorf("receipt: %w", err)
	}
	return r, p, nil
}

func parseReceipt(b []byte) (r Receipt, p Proof, err error) {
	head, rest, whole := bytes.Cut(b, []byte("\n"))
	version, ok := bytes.CutPrefix(head, []byte(receiptHead))
	switch {
	case !whole && (ok || bytes.HasPrefix([]byte(receiptHead), head)):
		return r, p, fmt.Errorf("%w: it is cut off", ErrDamaged)
	case !ok:
		return r, p, fmt.Errorf("%w: it begins with %.24q", ErrForeign, head)
	case len(b) > MaxReceipt:
		return r, p, fmt.Errorf("%w: it has more than %d bytes", ErrDamaged, MaxReceipt)
	case string(version) != fmt.Sprint(ReceiptVersion):
		return r, p, fmt.Errorf("%w: format version %.20q, this program knows %d", ErrVersion, version, ReceiptVersion)
	}
	text, last, _ := bytes.Cut(rest, []byte("\n"))
	sum := sha256.Sum256(b[:len(b)-len(last)])
	signature, ok := bytes.CutPrefix(last, []byte("sha256 "+hex.EncodeToString(sum[:])+"\n"))
	if ok && len(signature) > 0 {
		p, ok = parseProof(b[:len(b)-len(signature)], signature)
	}
	if !ok {
		return r, p, fmt.Errorf("%w: it is cut off, or its checksum is another one", ErrDamaged)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() || !utf8.Valid(text) {
		return r, p, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if err := r.check(); err != nil {
		return r, p, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, p, nil
}

// parseProof reads the line behind the others.
func parseProof(lines, line []byte) (p Proof, ok bool) {
	line, ok = bytes.CutPrefix(line, []byte(signatureHead))
	line, whole := bytes.CutSuffix(line, []byte("\n"))
	parts := bytes.Split(line, []byte(" "))
	if !ok || !whole || len(parts) < 2 {
		return p, false
	}
	for i, part := range parts {
		b, err := base64.StdEncoding.Strict().DecodeString(string(part))
		if err != nil || len(b) == 0 {
			return Proof{}, false
		}
		if i == 0 {
			p.Signature = b
		} else {
			p.Certificates = append(p.Certificates, b)
		}
	}
	p.Message = receiptMessage(lines)
	return p, true
}

func (r *Receipt) check() error {
	if err := wire.CheckName("agent id", string(r.Agent)); err != nil {
		return err
	}
	if r.Store.IsZero() {
		return fmt.Errorf("it names no store")
	}
	if len(r.Streams) > wire.MaxStreams {
		return fmt.Errorf("%d streams, the limit is %d", len(r.Streams), wire.MaxStreams)
	}
	for i := range r.Streams {
		s := &r.Streams[i]
		if err := wire.CheckName("lane", string(s.Lane)); err != nil {
			return err
		}
		if x := s.Rejected; x != nil && (x.Number != s.W+1 || x.Incarnation.IsZero() || len(x.Why) > wire.MaxReason) {
			return fmt.Errorf("lane %s: the refusal of %d does not follow %d", s.Lane, x.Number, s.W)
		}
		if s.Epoch.IsZero() || s.W > wire.MaxSeq || s.Incarnation.IsZero() != (s.W == 0) {
			return fmt.Errorf("lane %s: up to %d of incarnation %s in epoch %s: these do not go together", s.Lane, s.W, s.Incarnation, s.Epoch)
		}
	}
	return nil
}
