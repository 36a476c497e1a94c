package wire_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// TestProtocolDocumentHasTheCodes holds the tables of docs/PROTOCOL.md against
// the code, both ways: who writes another agent has only the document.
func TestProtocolDocumentHasTheCodes(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "docs", "PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	b := document
	rows := func(pattern string) map[string]string {
		m := map[string]string{}
		for _, row := range regexp.MustCompile(`(?m)^`+pattern).FindAllSubmatch(b, -1) {
			m[string(row[1])] = string(row[len(row)-1])
		}
		return m
	}

	types := rows(`\| 0x([0-9a-f]{2}) \| (\w+) \|`)
	for n := range 256 {
		name := wire.Type(n).String()
		if name == fmt.Sprintf("type-0x%02x", n) {
			name = ""
		}
		if got := types[fmt.Sprintf("%02x", n)]; got != name {
			t.Errorf("frame type %#02x is %q in the document and %q in the code", n, got, name)
		}
	}

	_, b, _ = bytes.Cut(b, []byte("\n| reason | name | meaning |\n")) // the tables before it have numbers as well
	b, _, _ = bytes.Cut(b, []byte("\n\n"))                            // and so have those behind it
	reasons := rows(`\| (\d{1,2}) \| ([a-z-]+) \|`)
	b = document
	for n := range 256 {
		name := wire.Reason(n).String()
		if name == fmt.Sprintf("reason-%d", n) {
			name = ""
		}
		if got := reasons[strconv.Itoa(n)]; got != name {
			t.Errorf("reason %d is %q in the document and %q in the code", n, got, name)
		}
	}

	codes := rows("\\| `([a-z]+)` \\| ([^|]+) \\|")
	for _, code := range []wire.RefuseCode{wire.RefuseVersion, wire.RefuseIdentity, wire.RefuseProtocol, wire.RefuseBusy, wire.RefuseStore, wire.RefuseFenced,
		wire.RefuseTLS, wire.RefuseRevoked, wire.RefuseToken, wire.RefuseEnroll, wire.RefuseLimit} {
		if codes[string(code)] == "" {
			t.Errorf("refuse code %s is not in the document", code)
		}
	}

	// Limits, as the document writes them.
	for _, c := range []struct {
		n       int
		pattern string
	}{
		{wire.MaxName, `1 to 64 of .\[A-Za-z0-9._-\]`},
		{wire.MaxTopic, `at most 1,024 bytes of UTF-8`},
		{wire.MaxHeaders, `number of headers, at most 64`},
		{wire.MaxHeader, `at most 4,096 bytes each`},
		{wire.MaxReason, `why \(UTF-8, at most 256 bytes\)`},
		{wire.MaxRecord, `at most 1 MiB \(1,048,576\)`},
		{wire.MaxBatch >> 20, `before compression, at most 4 MiB`},
		{wire.MaxHello >> 10, `\| 0x01 \| hello \| agent \| JSON \| 4 KiB`},
		{wire.MaxEnroll >> 10, `\| 0x07 \| enroll \| agent \| JSON \| 8 KiB`},
		{wire.MaxEnrolled >> 10, `\| 0x08 \| enrolled \| collector \| JSON \| 64 KiB`},
		{wire.MaxPage >> 10, `\| 0x02 \| history \| agent \| JSON \| 64 KiB`},
		{wire.MaxFrame >> 20, `\| 0x10 \| data \| agent \| binary \| 1 MiB`},
		{wire.MaxPageBounds, `At most 1,024 boundaries in a frame`},
		{wire.MaxHelloBounds, `At most the newest 16,384 boundaries`},
		{wire.MaxStreams, `at most 1,024\), .heartbeat`},
		{wire.DefaultFragment >> 10, `fragment; window \| 16 KiB; 4 MiB by default`},
		{wire.DefaultWindow >> 20, `16 KiB; 4 MiB by default`},
	} {
		// The number of the code, written with commas, is in the sentence, and the
		// sentence in the document.
		digits := strconv.Itoa(c.n)
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
		if !regexp.MustCompile(`\b` + digits + `\b`).MatchString(c.pattern) {
			t.Errorf("the code's limit of %s is not that of %q", digits, c.pattern)
		}
		if !regexp.MustCompile(c.pattern).Match(b) {
			t.Errorf("the document does not say %q", c.pattern)
		}
	}
}
