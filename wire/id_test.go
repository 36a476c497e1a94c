package wire_test

import (
	"encoding"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

// "1 to 64 of [A-Za-z0-9._-], not . and not ..".
func TestNames(t *testing.T) {
	const all = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	for name, want := range map[string]string{
		"a": "", "default": "", "pump-7": "", "...": "", ".a": "", "a.": "", "-": "", "_": "", "-rf": "",
		all[:64]:                   "",
		strings.Repeat("x", 64):    "",
		strings.Repeat("x", 65):    "want 1 to 64 characters, have 65 bytes",
		all:                        "want 1 to 64 characters, have 65 bytes",
		strings.Repeat("x", 1<<20): "have 1048576 bytes",
		"":                         "want 1 to 64 characters, have 0 bytes",
		".":                        "reserved",
		"..":                       "reserved",
		"a b":                      "character 2 is not one of A-Z a-z 0-9 . _ -",
		" a":                       "character 1 is not one of",
		"a\n":                      "character 2 is not one of",
		"a\x00":                    "character 2 is not one of",
		"a/b":                      "character 2 is not one of",
		"../a":                     "character 3 is not one of",
		`a\b`:                      "character 2 is not one of",
		"a:b":                      "character 2 is not one of",
		"pümpe":                    "character 2 is not one of",
		"ａ":                        "character 1 is not one of",
		"a\u202eb":                 "character 2 is not one of",
		"\xff":                     "character 1 is not one of",
	} {
		for what, check := range map[string]func() error{
			"thing":    func() error { return wire.CheckName("thing", name) },
			"agent id": func() error { _, err := wire.ParseAgentID(name); return err },
			"lane":     func() error { _, err := wire.ParseLane(name); return err },
			"agent id, text": func() error {
				a := wire.AgentID("before")
				err := a.UnmarshalText([]byte(name))
				if err == nil {
					same(t, string(a), name)
				}
				return err
			},
			"lane, text": func() error {
				l := wire.Lane("before")
				err := l.UnmarshalText([]byte(name))
				if err == nil {
					same(t, string(l), name)
				}
				return err
			},
		} {
			err := check()
			if want == "" {
				if err != nil {
					t.Errorf("%s %q: %v", what, name, err)
				}
				continue
			}
			wantError(t, err, want)
			short, _, _ := strings.Cut(what, ",")
			wantError(t, err, "bad name: "+short+" ")
			if !errors.Is(err, wire.ErrName) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\x00\n\u202e") || !utf8.ValidString(err.Error()) {
				t.Errorf("%s %.80q: the error is not ErrName, too long or not escaped: %.600q", what, name, err)
			}
		}
	}
	for c := range 256 {
		err := wire.CheckName("thing", string([]byte{'a', byte(c)}))
		if (err == nil) != strings.Contains(all, string([]byte{byte(c)})) {
			t.Errorf("character %q: %v", rune(c), err)
		}
	}
}

func TestIDText(t *testing.T) {
	const text = "00112233445566778899aabbccddeeff"
	id, err := wire.ParseID(text)
	if err != nil || id != goldenEpoch.ID || id.String() != text || id.IsZero() {
		t.Errorf("%s is %s, %v", text, id, err)
	}
	for _, text := range []string{
		"", "0", text[:31], text + "0", text + "00", strings.ToUpper(text), "0011223344556677-899aabbccddeeff",
		"g0112233445566778899aabbccddeeff", " 0112233445566778899aabbccddeeff", strings.Repeat("é", 16), strings.Repeat("a", 1<<20),
	} {
		got, err := wire.ParseID(text)
		if wantError(t, err, "hex digits"); got != (wire.ID{}) || len(err.Error()) > 300 {
			t.Errorf("%.80q: id %s, error of %d bytes", text, got, len(err.Error()))
		}
	}
	if zero, err := wire.ParseID(strings.Repeat("0", 32)); err != nil || !zero.IsZero() {
		t.Errorf("the zero id is %s, %v", zero, err)
	}
}

// In JSON the zero id is "", and only that.
func TestIDMarshals(t *testing.T) {
	for _, id := range []wire.ID{{}, goldenEpoch.ID} {
		text, err := id.MarshalText()
		back := wire.NewID()
		if err != nil || back.UnmarshalText(text) != nil || back != id {
			t.Errorf("%s is %q, %v, and back %s", id, text, err, back)
		}
	}
	before := wire.NewID()
	id := before
	wantError(t, id.UnmarshalText([]byte(strings.Repeat("0", 32))), "names nothing")
	wantError(t, id.UnmarshalText([]byte("AB")), "want 32 hex digits")
	same(t, id, before)

	// The named ids do the same through their embedded one.
	for _, v := range []encoding.TextUnmarshaler{new(wire.Epoch), new(wire.Incarnation), new(wire.StoreID), new(wire.Instance)} {
		if err := v.UnmarshalText([]byte("00112233445566778899aabbccddeeff")); err != nil {
			t.Errorf("%T: %v", v, err)
		}
		if text, err := v.(encoding.TextMarshaler).MarshalText(); string(text) != "00112233445566778899aabbccddeeff" || err != nil {
			t.Errorf("%T: %q, %v", v, text, err)
		}
	}
}

func TestNewIDIsNewAndNotZero(t *testing.T) {
	seen := map[wire.ID]bool{{}: true}
	for range 1000 {
		id := wire.NewID()
		if seen[id] {
			t.Fatalf("%s again", id)
		}
		seen[id] = true
	}
}

func TestSeqText(t *testing.T) {
	same(t, wire.Seq(0).String(), "0")
	same(t, wire.MaxSeq.String(), "9223372036854775807")
	same(t, (wire.MaxSeq + 1).String(), "9223372036854775808") // "next" behind the largest number is a number as well
}
