package wire_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// golden returns the bytes of a literal: on each line the hex digits, then, two
// blanks later, what they say.
func golden(t testing.TB, literal string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(literal) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
		digits.WriteString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("literal: %v", err)
	}
	return b
}

func sameBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// readOne reads the one frame in b.
func readOne(t *testing.T, b []byte, want wire.Type) []byte {
	t.Helper()
	r := bytes.NewReader(b)
	typ, payload, _, err := wire.ReadFrame(r, nil, wire.MaxFrame)
	if err != nil || typ != want || r.Len() != 0 {
		t.Fatalf("ReadFrame: a %s, %d bytes left, %v; want one %s", typ, r.Len(), err, want)
	}
	return payload
}

// wantError checks that err says what is wanted.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want one with %q", want)
	case !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want one with %q", err, want)
	}
}
