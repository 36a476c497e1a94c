package oracle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func msg(producer, body string) Message {
	return Message{Agent: "pump", Lane: "default", Producer: producer, Topic: "t", Body: []byte(body)}
}

// export writes bodies as an export of agent pump would.
func export(bodies ...string) string {
	var b strings.Builder
	for i, body := range bodies {
		text, _ := json.Marshal(body)
		fmt.Fprintf(&b, `{"agent":"pump","lane":"default","epoch":"e","seq":%d,"topic":"t","body":%s}`+"\n", i+1, text)
	}
	return b.String()
}

func TestJudgeTellsEachFault(t *testing.T) {
	var sent Sent
	for _, b := range []string{"a", "b", "c", "d"} {
		sent.Add(msg("p", b), Accepted)
	}
	sent.Add(msg("p", "u"), Unknown)
	sent.Add(msg("p", "r"), Refused)
	sent.Add(msg("q", "z"), Accepted)

	good := Tally{Accepted: 5, Uncertain: 1, Stored: 5}
	for _, c := range []struct {
		name   string
		export string
		want   func(v *Tally)
	}{
		{"all once, in order", export("a", "b", "c", "d", "z"), func(v *Tally) {}},
		{"producers interleave", export("z", "a", "b", "c", "d"), func(v *Tally) {}},
		{"an uncertain one is stored", export("a", "b", "c", "d", "u", "z"), func(v *Tally) { v.Survived = 1 }},
		{"one is missing", export("a", "c", "d", "z"), func(v *Tally) { v.Stored, v.Missing = 4, 1 }},
		{"nothing is stored", "", func(v *Tally) { v.Stored, v.Missing = 0, 5 }},
		{"one is doubled", export("a", "b", "b", "c", "d", "z"), func(v *Tally) { v.Doubled = 1 }},
		{"an uncertain one is doubled", export("a", "b", "c", "d", "u", "z", "u"), func(v *Tally) { v.Doubled, v.Survived = 1, 1 }},
		{"two change places", export("a", "c", "b", "d", "z"), func(v *Tally) { v.Misplaced = 1 }},
		{"the first comes last", export("b", "c", "d", "z", "a"), func(v *Tally) { v.Misplaced = 1 }},
		{"one was never sent", export("a", "b", "c", "d", "z", "x"), func(v *Tally) { v.Foreign = 1 }},
		{"one had been refused", export("a", "b", "c", "d", "z", "r"), func(v *Tally) { v.Foreign = 1 }},
		{"another agent's", strings.ReplaceAll(export("a"), "pump", "fan") + export("a", "b", "c", "d", "z"), func(v *Tally) { v.Foreign = 1 }},
		{"another lane's", strings.ReplaceAll(export("a"), "default", "bulk") + export("b", "c", "d", "z"), func(v *Tally) { v.Foreign, v.Missing, v.Stored = 1, 1, 4 }},
		{"another topic", strings.ReplaceAll(export("a"), `"t"`, `"s"`) + export("b", "c", "d", "z"), func(v *Tally) { v.Foreign, v.Missing, v.Stored = 1, 1, 4 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := good
			c.want(&want)
			got, err := sent.Judge(Export(strings.NewReader(c.export)))
			if err != nil {
				t.Fatal(err)
			}
			faults := got.Missing + got.Doubled + got.Misplaced + got.Foreign
			if len(got.Findings) != faults || got.OK() != (faults == 0) {
				t.Errorf("%d faults, %d findings, OK %v", faults, len(got.Findings), got.OK())
			}
			text := got.String()
			if fan := got.Agents["fan"]; fan != nil && fan.Foreign != 1 || got.Agents["pump"].Accepted != 5 {
				t.Errorf("by agent: %+v", got.Agents)
			}
			if got.Tally != want {
				t.Errorf("got  %+v\nwant %+v\n%s", got.Tally, want, text)
			}
		})
	}
}

// Of a lane whose streams go apart only what has one incarnation has an order.
func TestJudgeApart(t *testing.T) {
	var sent Sent
	for _, b := range []string{"a", "b", "c", "d"} {
		sent.Add(msg("p", b), Accepted)
	}
	stored := func(list ...string) iter.Seq2[Stored, error] {
		return func(yield func(Stored, error) bool) {
			for _, it := range list {
				m := msg("p", it[1:])
				if !yield(Stored{Agent: m.Agent, Lane: m.Lane, Incarnation: it[:1], Topic: m.Topic, Body: m.Body}, nil) {
					return
				}
			}
		}
	}
	if v, _ := sent.Judge(stored("2c", "1a", "2d", "1b")); v.Misplaced != 2 {
		t.Errorf("one order: %d out of order, want 2", v.Misplaced)
	}
	sent.Apart(msg("p", "").Lane)
	if v, _ := sent.Judge(stored("2c", "1a", "2d", "1b")); !v.OK() {
		t.Error(v.String())
	}
	if v, _ := sent.Judge(stored("2d", "1a", "2c", "1b")); v.Misplaced != 1 {
		t.Errorf("within an incarnation: %d out of order, want 1", v.Misplaced)
	}
}

func TestJudgeTellsEqualMessagesByTheirOrder(t *testing.T) {
	var sent Sent
	if err := sent.AddLines(strings.NewReader("x\n\nx\r\ny\n\nx"), msg("file", "")); err != nil {
		t.Fatal(err)
	}
	if n := sent.Accepted(); n != 6 {
		t.Fatalf("%d lines", n)
	}
	for _, c := range []struct {
		bodies []string
		ok     bool
	}{
		{[]string{"x", "", "x\r", "y", "", "x"}, true},
		{[]string{"x", "", "x\r", "y", ""}, false},
		{[]string{"x", "", "x\r", "y", "", "x", "x"}, false},
		{[]string{"x", "x", "", "x\r", "y", ""}, false},
		{[]string{"", "x", "x\r", "y", "", "x"}, false},
	} {
		v, err := sent.Judge(Export(strings.NewReader(export(c.bodies...))))
		if err != nil || v.OK() != c.ok {
			t.Errorf("%q: %v, %v", c.bodies, err, &v)
		}
	}
}

// Of equal messages the one that is missing is the one that keeps the order.
func TestJudgeBlamesTheEqualMessageThatFits(t *testing.T) {
	var sent Sent
	for _, b := range []string{"x", "y", "x"} {
		sent.Add(msg("p", b), Accepted)
	}
	v, err := sent.Judge(Export(strings.NewReader(export("y", "x"))))
	if err != nil || v.Missing != 1 || v.Misplaced != 0 || !strings.Contains(v.Findings[0], "message 1 of") {
		t.Errorf("%v, %v; want the first message missing", &v, err)
	}
}

func TestJudgeReadsBase64AndRefusesGarbage(t *testing.T) {
	var sent Sent
	sent.Add(msg("p", "\xff\x00"), Accepted)
	line := `{"agent":"pump","lane":"default","seq":1,"topic":"t","body_base64":"` + base64.StdEncoding.EncodeToString([]byte("\xff\x00")) + `"}`
	if v, err := sent.Judge(Export(strings.NewReader(line))); err != nil || !v.OK() {
		t.Errorf("%v, %v", err, &v)
	}
	if _, err := sent.Judge(Export(strings.NewReader(line[:len(line)-4]))); err == nil {
		t.Error("a torn export was taken for a whole one")
	}
}

func TestLogSurvivesAKilledSender(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	l, err := Create(first)
	if err != nil {
		t.Fatal(err)
	}
	l.Done(l.Try(msg("p", "a")), Accepted)
	l.Done(l.Try(msg("p", "b")), Refused)
	l.Try(msg("p", "c"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(first); err == nil {
		t.Fatal("a second run took the first one's file")
	}
	// The kill cut the last line.
	b, _ := os.ReadFile(first)
	if err := os.WriteFile(first, append(b, `{"n":4,"age`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = Create(second); err != nil {
		t.Fatal(err)
	}
	l.Done(l.Try(msg("p", "d")), Accepted)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	var sent Sent
	if err := sent.Load(first, second); err != nil {
		t.Fatal(err)
	}
	for export, ok := range map[string]bool{
		export("a", "d"):           true,
		export("a", "c", "d"):      true,
		export("a", "d", "c"):      false,
		export("a", "b", "d"):      false,
		export("d"):                false,
		export("a", "c", "c", "d"): false,
	} {
		if v, err := sent.Judge(Export(strings.NewReader(export))); err != nil || v.OK() != ok {
			t.Errorf("%s: %v, %v", export, err, &v)
		}
	}
}

func TestLogReportsItsOwnFailure(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	l.f.Close()
	l.Try(msg("p", "a"))
	if err := l.Close(); err == nil {
		t.Error("a log that wrote nothing says that all is well")
	}
}
