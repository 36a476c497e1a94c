package lines

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// read returns all lines, "!" for one that was passed over.
func read(t testing.TB, r *Reader) []string {
	t.Helper()
	var got []string
	for {
		line, err := r.Next()
		var long *TooLong
		switch {
		case err == nil:
			got = append(got, string(line))
		case errors.As(err, &long):
			got = append(got, "!")
			if long.Line != int64(len(got)) {
				t.Fatalf("%v is line %d", err, len(got))
			}
		case err == io.EOF:
			if r.Line() != int64(len(got)) {
				t.Fatalf("Line() = %d after %d lines", r.Line(), len(got))
			}
			return got
		default:
			t.Fatal(err)
		}
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 11)
	for in, want := range map[string][]string{
		"":                        nil,
		"\n":                      {""},
		"a":                       {"a"},
		"a\n":                     {"a"},
		"a\nb":                    {"a", "b"},
		"a\r\nb\r\n":              {"a\r", "b\r"},
		"\n\na\n\n":               {"", "", "a", ""},
		"\x00\xff\n":              {"\x00\xff"},
		long[:10] + "\n":          {long[:10]},
		long[:10]:                 {long[:10]},
		long + "\n":               {"!"},
		long:                      {"!"},
		"a\n" + long + "\nb\n":    {"a", "!", "b"},
		long + long + long + "\n": {"!"},
		long + "\n" + long + "\n": {"!", "!"},
		long + long + "\n\nb":     {"!", "", "b"},
	} {
		for name, src := range map[string]io.Reader{
			"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)), "err with data": iotest.DataErrReader(strings.NewReader(in)),
		} {
			if got := read(t, NewReader(src, 10)); strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) {
				t.Errorf("%q (%s): %q, want %q", in, name, got, want)
			}
		}
	}
}

// An error of the source loses nothing: the reader goes on where it was.
func TestReadsOnAfterAnError(t *testing.T) {
	r := NewReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("ab\ncd\n"))), 10)
	if _, err := r.Next(); err != iotest.ErrTimeout {
		t.Fatal(err)
	}
	if n := r.Partial(); n != 1 {
		t.Errorf("Partial() = %d, want 1", n)
	}
	if got := read(t, r); strings.Join(got, "|") != "ab|cd" {
		t.Errorf("after the error: %q", got)
	}
}

func TestPartial(t *testing.T) {
	r := NewReader(strings.NewReader("a\nbc"), 10)
	r.Next()
	if n := r.Partial(); n != 2 {
		t.Errorf("Partial() = %d of bc", n)
	}
	// Also of a line that is too long, whose bytes are not kept.
	long := NewReader(io.MultiReader(strings.NewReader(strings.Repeat("x", 30)), iotest.ErrReader(iotest.ErrTimeout)), 10)
	if _, err := long.Next(); err != iotest.ErrTimeout || long.Partial() != 30 {
		t.Errorf("Partial() = %d of 30 bytes, %v", long.Partial(), err)
	}
}

// Joined by newlines the lines are the input, whatever the pieces it comes in.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\n\nb\r\nc"), uint64(1))
	f.Add(bytes.Repeat([]byte("0123456789\n"), 100), uint64(2))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		got := read(t, NewReader(&pieces{in, rand.New(rand.NewPCG(seed, 0))}, len(in)))
		out := strings.Join(got, "\n")
		if len(got) > 0 && bytes.HasSuffix(in, []byte("\n")) {
			out += "\n"
		}
		if out != string(in) {
			t.Errorf("in  %q\nout %q", in, out)
		}
	})
}

// pieces reads a slice in pieces of random size.
type pieces struct {
	b   []byte
	rnd *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b[:1+p.rnd.IntN(len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

// A line of any length takes no more memory than the limit, and no long time.
func TestEndlessLineIsBounded(t *testing.T) {
	const limit = 1 << 20
	r := NewReader(io.MultiReader(&io.LimitedReader{R: zeros{}, N: 256 << 20}, strings.NewReader("\nb")), limit)
	start := time.Now()
	if got := read(t, r); strings.Join(got, "|") != "!|b" {
		t.Errorf("%d lines", len(got))
	}
	if len(r.buf) > limit+1 {
		t.Errorf("a buffer of %d bytes, the limit is %d", len(r.buf), limit)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %s", d)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
