package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

var (
	made     = time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.FixedZone("x", 3600))
	received = time.Date(2026, 1, 31, 11, 0, 1, 0, time.UTC)
	epoch    = wire.Epoch{ID: wire.ID{0xe0, 15: 1}}
	incarn   = wire.Incarnation{ID: wire.ID{0x1c, 15: 2}}
)

// stored makes an entry of messages numbered from first.
func stored(t testing.TB, first wire.Seq, list ...wire.Message) collector.Stored {
	t.Helper()
	var records []byte
	for i := range list {
		if list[i].Time.IsZero() {
			list[i].Time = made
		}
		var err error
		if records, err = wire.AppendRecord(records, &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	h := wire.BatchHeader{Lane: "alarms", Epoch: epoch, Incarnation: incarn, First: first, Count: uint32(len(list))}
	return collector.Stored{
		Cursor: "c", Agent: "pump-7", Stream: collector.Stream{Lane: "alarms", Epoch: epoch}, Received: received,
		Entry: wire.Entry{From: first, To: h.Last(), Incarnation: incarn, Batch: wire.AppendBatch(nil, h, records)},
	}
}

func lines(t testing.TB, f Filter, s collector.Stored) string {
	t.Helper()
	var out bytes.Buffer
	err := Lines(f, func(line []byte) error { _, err := out.Write(line); return err })(s)
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLinesGolden(t *testing.T) {
	s := stored(t, 41,
		wire.Message{Topic: "pump/pressure", Time: made, Body: []byte("3.2 bar <&> \"é\"\n\x00")},
		wire.Message{Time: made, Headers: []wire.Header{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}}},
		wire.Message{Topic: "t", Time: made, Body: []byte{0xff, 0, 1}},
	)
	const head = `{"agent":"pump-7","lane":"alarms","epoch":"e0000000000000000000000000000001","seq":`
	const times = `,"time":"2026-01-31T11:00:00.123456789Z","received":"2026-01-31T11:00:01Z",`
	want := head + `41` + times + `"topic":"pump/pressure","headers":[],"body":"3.2 bar <&> \"é\"\n\u0000"}` + "\n" +
		head + `42` + times + `"topic":"","headers":[{"key":"b","value":"1"},{"key":"a","value":"2"},{"key":"b","value":"3"}],"body":""}` + "\n" +
		head + `43` + times + `"topic":"t","headers":[],"body_base64":"/wAB"}` + "\n"
	if got := lines(t, Filter{}, s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A part of a batch is stored as the whole batch: only From to To are messages.
func TestLinesOnlyOfNumbersThatCount(t *testing.T) {
	s := stored(t, 1, wire.Message{Topic: "1"}, wire.Message{Topic: "2"}, wire.Message{Topic: "3"}, wire.Message{Topic: "4"})
	s.Entry.From, s.Entry.To = 2, 3
	got := lines(t, Filter{}, s)
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, `"seq":2,`) || !strings.Contains(got, `"seq":3,`) {
		t.Errorf("numbers 2 to 3 gave\n%s", got)
	}
}

func TestLinesErrors(t *testing.T) {
	s := stored(t, 1, wire.Message{Topic: "1"})
	stop := errors.New("stop")
	if err := Lines(Filter{}, func([]byte) error { return stop })(s); err != stop {
		t.Errorf("emit's error came back as %v", err)
	}
	s.Entry.Batch[70] ^= 1
	if err := Lines(Filter{}, func([]byte) error { return nil })(s); err == nil {
		t.Error("a damaged batch gave no error")
	}
	s.Entry = wire.Entry{From: 1, To: 5, Incarnation: incarn, Reason: wire.ReasonExpired}
	if got := lines(t, Filter{}, s); got != "" {
		t.Errorf("a tombstone gave %q", got)
	}
}

func TestFilter(t *testing.T) {
	s := stored(t, 1, wire.Message{Topic: "a/b"}, wire.Message{Topic: "a/c"}, wire.Message{})
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"all", Filter{}, 3},
		{"agent", Filter{Agent: "pump-7"}, 3}, {"other agent", Filter{Agent: "pump-8"}, 0},
		{"lane", Filter{Lane: "alarms"}, 3}, {"other lane", Filter{Lane: "default"}, 0},
		{"topic", Filter{Topic: "a/*"}, 2}, {"one topic", Filter{Topic: "a/c"}, 1},
		{"since then", Filter{Since: received}, 3}, {"since later", Filter{Since: received.Add(1)}, 0},
		{"until then", Filter{Until: received}, 0}, {"until later", Filter{Until: received.Add(1)}, 3},
		{"all of it", Filter{"pump-7", "alarms", "**/b", received, received.Add(1)}, 1},
	} {
		if got := strings.Count(lines(t, c.f, s), "\n"); got != c.want {
			t.Errorf("%s: %d lines, want %d", c.name, got, c.want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		glob, topic string
		want        bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "", false}, {"a", "aa", false},
		{"*", "abc", true}, {"*", "", true}, {"*", "a/b", false}, {"**", "a/b", true}, {"**", "", true},
		{"host/*", "host/cpu", true}, {"host/*", "host/cpu/0", false}, {"host/**", "host/cpu/0", true}, {"host/**", "host", false},
		{"*/cpu", "host/cpu", true}, {"**/cpu", "a/b/cpu", true}, {"**cpu", "cpu", true},
		{"a?c", "abc", true}, {"a?c", "a/c", false}, {"a?c", "ac", false}, {"a?c", "aéc", true}, {"a?c", "aééc", false}, {"a?", "a日", true}, {"??", "日本", true}, {"?", "日本", false},
		{"*a*b*c", "xaybzc", true}, {"*a*b*c", "xaybz", false}, {"[a]", "[a]", true}, {"***", "a/b", true},
	} {
		if got := Glob(c.glob).Match(c.topic); got != c.want {
			t.Errorf("%q matches %q: %t", c.glob, c.topic, got)
		}
	}
	// A pattern that makes backtracking matchers take for ever.
	if Glob(strings.Repeat("*a", 500)).Match(strings.Repeat("a", 1000) + "b") {
		t.Error("matched")
	}
}

// A glob is what the same expression says.
func FuzzGlob(f *testing.F) {
	f.Add("a*/?b**", "ax/cbd/e")
	f.Add("??", "日本")
	f.Fuzz(func(t *testing.T, glob, topic string) {
		if len(glob) > 50 || len(topic) > 100 || !utf8.ValidString(glob) || !utf8.ValidString(topic) {
			return
		}
		var expr strings.Builder
		for rest := glob; rest != ""; {
			from, to := rest[:1], regexp.QuoteMeta(rest[:1])
			switch {
			case strings.HasPrefix(rest, "**"):
				from, to = "**", `(?s:.*)`
			case from == "*":
				to = `[^/]*`
			case from == "?":
				to = `[^/]`
			}
			expr.WriteString(to)
			rest = rest[len(from):]
		}
		if got, want := Glob(glob).Match(topic), regexp.MustCompile(`^(?:`+expr.String()+`)$`).MatchString(topic); got != want {
			t.Errorf("%q matches %q: %t, expression %s says %t", glob, topic, got, &expr, want)
		}
	})
}

// Whatever is sent comes out of the line as it went in.
func FuzzLines(f *testing.F) {
	f.Add("topic", "k", "v", []byte("body\u2028\xff"))
	f.Fuzz(func(t *testing.T, topic, key, value string, body []byte) {
		m := wire.Message{Topic: topic, Time: made, Headers: []wire.Header{{Key: key, Value: value}}, Body: body}
		if m.Check() != nil {
			return
		}
		text := lines(t, Filter{}, stored(t, 7, m))
		if strings.Count(text, "\n") != 1 {
			t.Fatalf("not one line: %q", text)
		}
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		got := l.BodyBase64
		if l.Body != nil {
			got = []byte(*l.Body)
		}
		if l.Topic != topic || l.Headers[0] != m.Headers[0] || !bytes.Equal(got, body) || !l.Time.Equal(made) {
			t.Fatalf("sent %+v, line %s", m, text)
		}
	})
}
