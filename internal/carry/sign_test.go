package carry

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldpost/fieldpost/wire"
)

// signer signs with a key of its own; its certificate is the public key.
type signer ed25519.PrivateKey

func newSigner(b byte) signer {
	return signer(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize)))
}

func (s signer) sign(m []byte) ([]byte, error) { return ed25519.Sign(ed25519.PrivateKey(s), m), nil }

func (s signer) certificates() [][]byte {
	return [][]byte{ed25519.PrivateKey(s).Public().(ed25519.PublicKey)}
}

func (s signer) check(message, signature []byte) error {
	if !ed25519.Verify(ed25519.PrivateKey(s).Public().(ed25519.PublicKey), message, signature) {
		return errors.New("not this key's")
	}
	return nil
}

// trusts verifies files of s alone.
func (s signer) trusts(m *Manifest) (func(message, signature []byte) error, error) {
	if len(m.Certificates) == 0 {
		return nil, errors.New("not signed")
	}
	return s.check, nil
}

// signed writes the sample, with so many large entries behind it.
func signed(t testing.TB, s signer, large int) (b []byte, numbers uint64) {
	t.Helper()
	m, entries := sample(t)
	m.Certificates = s.certificates()
	m.Streams[2].Next += wire.Seq(large)
	for n := range wire.Seq(large) {
		body := bytes.Repeat([]byte{byte(n)}, 1<<19)
		records, err := wire.AppendRecord(nil, &wire.Message{Time: time.Unix(1, 0), Body: body})
		if err != nil {
			t.Fatal(err)
		}
		h := wire.BatchHeader{Lane: "default", Epoch: wire.Epoch{ID: id(7)}, Incarnation: inc(6), First: 3 + n, Count: 1}
		entries[2] = append(entries[2], wire.Entry{From: 3 + n, To: 3 + n, Incarnation: inc(6), Batch: wire.AppendBatch(nil, h, records)})
	}
	var w bytes.Buffer
	f, err := newWriter(&w, m, s.sign, id(0xf1))
	for i, list := range entries {
		for j := range list {
			if err == nil {
				err = f.Entry(i, &list[j])
			}
			numbers += uint64(list[j].To - list[j].From + 1)
		}
	}
	if err == nil {
		_, err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.Bytes(), numbers
}

// TestGoldenSignedFile pins the form; the key and so the signatures are fixed.
func TestGoldenSignedFile(t *testing.T) {
	b, _ := signed(t, newSigner(1), 0)
	golden(t, "signed.hex", b)
}

// TestSignedFile: read with its verifier, without one, and not with another's.
func TestSignedFile(t *testing.T) {
	s := newSigner(1)
	for _, large := range []int{0, 1, 20} { // the last has several signatures
		b, numbers := signed(t, s, large)
		for what, v := range map[string]Verifier{"verified": s.trusts, "only read": nil} {
			m, sum, err := Verify(bytes.NewReader(b), v)
			if err != nil || sum.Numbers != numbers || len(m.Certificates) != 1 {
				t.Errorf("%s: %+v, %v", what, sum, err)
			}
		}
		if _, _, err := Verify(bytes.NewReader(b), newSigner(2).trusts); !errors.Is(err, ErrSignature) {
			t.Errorf("another's: %v", err)
		}
	}
	m, entries := sample(t)
	if _, _, err := Verify(bytes.NewReader(write(t, m, entries)), s.trusts); err == nil {
		t.Error("a file that is not signed is believed")
	}
	if _, err := NewWriter(io.Discard, m, s.sign); err == nil {
		t.Error("a signer without a certificate")
	}
}

// TestForgery: whoever makes blocks with right checksums, and has not the key, gets
// no entry of his out of a reader.
func TestForgery(t *testing.T) {
	s := newSigner(1)
	b, _ := signed(t, s, 10)
	blocks := blocksOf(t, b)
	read := func(parts [][]byte) (numbers uint64, err error) {
		f, err := NewReader(bytes.NewReader(reseal(parts)), s.trusts)
		for err == nil {
			var e wire.Entry
			if _, e, err = f.Next(); err == nil {
				numbers += uint64(e.To - e.From + 1)
			}
		}
		if err == io.EOF {
			err = nil
		}
		return numbers, err
	}
	whole, err := read(blocks)
	if err != nil {
		t.Fatal(err)
	}
	for at, p := range blocks[1:] { // the first is the head
		at++
		for what, change := range map[string]func() [][]byte{
			"left out": func() [][]byte { return append(append([][]byte{}, blocks[:at]...), blocks[at+1:]...) },
			"twice":    func() [][]byte { return append(append(append([][]byte{}, blocks[:at+1]...), p), blocks[at+1:]...) },
			"changed": func() [][]byte {
				c := append([][]byte{}, blocks...)
				c[at] = bytes.Clone(p)
				c[at][len(p)-1] ^= 1
				return c
			},
			"cut off behind it, with an end": func() [][]byte {
				return append(append([][]byte{}, blocks[:at]...), blocks[len(blocks)-1])
			},
		} {
			if p[0] == kindEnd {
				continue
			}
			n, err := read(change())
			if err == nil {
				t.Errorf("block %d, kind %d, %s: %d of %d numbers are read, and no error", at, p[0], what, n, whole)
			}
		}
	}
	// A change in the middle gives nothing from the signature before it on.
	for at, p := range blocks {
		if at > 0 && p[0] == kindEntry {
			c := append([][]byte{}, blocks...)
			c[at] = bytes.Clone(p)
			c[at][blockHead+2] ^= 1
			if n, err := read(c); err == nil || n >= whole {
				t.Errorf("entry at block %d: %d numbers, %v", at, n, err)
			}
		}
	}
}

// blocksOf cuts a file into its head and its blocks.
func blocksOf(t *testing.T, b []byte) (list [][]byte) {
	list, b = append(list, b[:headSize]), b[headSize:]
	for len(b) > 0 {
		n := blockHead + int(uint32(b[4])<<24|uint32(b[5])<<16|uint32(b[6])<<8|uint32(b[7]))
		list, b = append(list, b[:n]), b[n:]
	}
	return list
}

// reseal makes all checksums, and the end, right again.
func reseal(parts [][]byte) []byte {
	var out bytes.Buffer
	w := &Writer{sum: sha256.New(), seed: seedOf(id(0xf1))}
	w.w = bufio.NewWriter(&out)
	w.write(parts[0])
	for _, p := range parts[1:] {
		payload := p[blockHead:]
		switch p[0] {
		case kindEntry:
			if e, _, _, err := wire.ParseEntry(payload[4:]); err == nil {
				w.done.Entries++
				w.done.Numbers += uint64(e.To - e.From + 1)
			}
		case kindEnd:
			w.Close()
			continue
		}
		w.block(p[0], payload)
	}
	w.w.Flush()
	return out.Bytes()
}

// TestSignedReceipt: the fourth line is what it was signed with, and whatever is
// changed is damage or another signature.
func TestSignedReceipt(t *testing.T) {
	r, s := sampleReceipt(), newSigner(1)
	b, err := r.Marshal(s.certificates(), s.sign)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "signed-receipt.hex", b)
	got, proof, err := ParseReceipt(bytes.NewReader(b))
	if err != nil || !cmp.Equal(got, r) || !proof.Signed() || !cmp.Equal(proof.Certificates, s.certificates()) || s.check(proof.Message, proof.Signature) != nil {
		t.Fatalf("%+v, %v", proof, err)
	}
	for at := range b {
		c := bytes.Clone(b)
		c[at] ^= 1
		if _, p, err := ParseReceipt(bytes.NewReader(c)); err == nil && p.Signed() && s.check(p.Message, p.Signature) == nil && cmp.Equal(p.Certificates, s.certificates()) {
			t.Errorf("byte %d changed: it is believed", at)
		}
		if _, p, err := ParseReceipt(bytes.NewReader(b[:at])); err == nil && p.Signed() {
			t.Errorf("cut to %d bytes: it is signed", at)
		}
	}
	plain, err := r.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, p, err := ParseReceipt(bytes.NewReader(plain)); err != nil || p.Signed() {
		t.Errorf("without a signature: %v", err)
	}
	if _, err := r.Marshal(nil, func([]byte) ([]byte, error) { return nil, fmt.Errorf("no key") }); err == nil {
		t.Error("a signature that failed is no error")
	}
}
