package lossy

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 9)) }

// seenBy returns all that is seen of a file.
func seenBy(c *content) []byte {
	b := make([]byte, c.seenSize)
	return b[:c.read(b, 0)]
}

// mutate writes to a file and to a plain slice that says what it must show.
func mutate(r *rand.Rand, c *content, want []byte) []byte {
	if r.IntN(4) == 0 {
		size := r.IntN(3 * pageSize)
		c.resize(int64(size))
		if size <= len(want) {
			return want[:size:size]
		}
		return append(want, make([]byte, size-len(want))...)
	}
	b := make([]byte, 1+r.IntN(2*pageSize))
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	off := r.IntN(2 * pageSize)
	c.write(b, int64(off), r)
	if end := off + len(b); end > len(want) {
		want = append(want, make([]byte, end-len(want))...)
	}
	copy(want[off:], b)
	return want
}

func TestAFileShowsWhatWasWritten(t *testing.T) {
	for seed := range uint64(200) {
		r, c, want := rng(seed), &content{}, []byte(nil)
		for step := range 30 {
			if want = mutate(r, c, want); !bytes.Equal(seenBy(c), want) {
				t.Fatalf("seed %d: step %d shows other bytes", seed, step)
			}
			if r.IntN(5) == 0 {
				c.sync()
				if got := seenBy(c.image(r, r.Float64())); !bytes.Equal(got, want) {
					t.Fatalf("seed %d: step %d: of what was synced, an image has other bytes", seed, step)
				}
			}
		}
	}
}

// What is kept and what is lost of each sector was written to it at some time
// since the last sync.
func TestAnImageHasOfEachSectorOneOfItsVersions(t *testing.T) {
	const size = 4 * pageSize
	kept, lost, older := 0, 0, 0
	for seed := range uint64(100) {
		r, c := rng(seed), &content{}
		c.write(bytes.Repeat([]byte{1}, size), 0, r)
		c.sync()
		for v := byte(2); v <= 4; v++ {
			c.write(bytes.Repeat([]byte{v}, size), 0, r)
		}
		got := seenBy(c.image(r, 0.5))
		if len(got) != size {
			t.Fatalf("seed %d: %d bytes", seed, len(got))
		}
		for i := 0; i < size; i += sectorSize {
			v := got[i]
			if v < 1 || v > 4 || !bytes.Equal(got[i:i+sectorSize], bytes.Repeat([]byte{v}, sectorSize)) {
				t.Fatalf("seed %d: the sector at %d is torn, or of no version: %v", seed, i, got[i:i+sectorSize])
			}
			switch v {
			case 1:
				lost++
			case 4:
				kept++
			default:
				older++
			}
		}
		if all := seenBy(c.image(r, 1)); !bytes.Equal(all, seenBy(c)) {
			t.Fatalf("seed %d: an image that keeps everything differs", seed)
		}
	}
	if kept == 0 || lost == 0 || older == 0 {
		t.Errorf("%d sectors kept, %d lost, %d of a version between: want some of each", kept, lost, older)
	}
}

func TestLengthAndContentAreLostApart(t *testing.T) {
	found := map[string]bool{}
	for seed := range uint64(200) {
		r, c := rng(seed), &content{}
		c.write(bytes.Repeat([]byte{1}, sectorSize), 0, r)
		c.sync()
		c.write(bytes.Repeat([]byte{2}, 7*sectorSize), sectorSize, r)
		got := seenBy(c.image(r, 0.5))
		if !bytes.Equal(got[:sectorSize], bytes.Repeat([]byte{1}, sectorSize)) {
			t.Fatalf("seed %d: the synced sector is gone", seed)
		}
		switch {
		case len(got) == sectorSize:
			found["old length"] = true
		case len(got) < 8*sectorSize:
			found["length between"] = true
		case bytes.Contains(got, make([]byte, sectorSize)):
			found["new length, content lost"] = true
		}
	}
	if len(found) != 3 {
		t.Errorf("only seen: %v", found)
	}
}

// What lay beyond the end of a file that was cut short and synced never comes back.
func TestWhatIsCutOffIsGone(t *testing.T) {
	for seed := range uint64(50) {
		r, c := rng(seed), &content{}
		c.write(bytes.Repeat([]byte{1}, 3*pageSize), 0, r)
		c.sync()
		c.resize(100)
		c.sync()
		c.resize(3 * pageSize)
		got := seenBy(c.image(r, 0.5))
		if tail := got[min(100, len(got)):]; len(bytes.Trim(tail, "\x00")) > 0 {
			t.Fatalf("seed %d: bytes beyond the end came back", seed)
		}
	}
}

func TestAnImageIsApartFromItsFile(t *testing.T) {
	r, c := rng(1), &content{}
	c.write(bytes.Repeat([]byte{1}, pageSize), 0, r)
	c.sync()
	img := c.image(r, 1)
	img.write([]byte{2}, 0, r)
	if again := img.image(r, 0); seenBy(again)[0] != 1 {
		t.Error("a write to an image reached its disk without a sync")
	}
	if seenBy(c)[0] != 1 || seenBy(c.image(r, 1))[0] != 1 {
		t.Error("a write to an image changed the file it was made of")
	}
}
