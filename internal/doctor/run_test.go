package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func found(f ...Finding) func(context.Context) []Finding {
	return func(context.Context) []Finding { return f }
}

// one returns the only finding of a list.
func one(t *testing.T, list []Finding) Finding {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d findings, want one: %+v", len(list), list)
	}
	return list[0]
}

// want holds a finding against a status and parts of what it says; what is not ok has
// to say what to do next.
func want(t *testing.T, f Finding, s Status, parts ...string) {
	t.Helper()
	if f.Status != s {
		t.Errorf("%s, want %s: %+v", f.Status, s, f)
	}
	if f.Status != OK && f.Next == "" {
		t.Errorf("no next step: %+v", f)
	}
	for _, p := range parts {
		if !strings.Contains(f.Text+"\n"+f.Next+"\n"+f.About, p) {
			t.Errorf("%+v does not say %q", f, p)
		}
	}
}

func TestChecksComeInOrderAndWhatTheyNeedComesFirst(t *testing.T) {
	began := make(chan string, 10)
	note := func(name string, f Finding) func(context.Context) []Finding {
		return func(context.Context) []Finding { began <- name; return []Finding{f} }
	}
	list := Run(t.Context(), Limit, []Check{
		{Name: "names", About: "a", Run: note("names", Good("fine"))},
		{Name: "port", About: "a", Needs: []string{"names a"}, Run: note("port", Bad("next", "closed"))},
		{Name: "tls", About: "a", Needs: []string{"port a", "nobody has this key"}, Run: note("tls", Good("fine"))},
		{Name: "proxy", After: []string{"port a"}, Run: note("proxy", Doubt("next", "set"))},
		{Name: "two", Run: found(Good("one").For("x"), Good("other").For("y"))},
		{Name: "none", Run: found()},
		{Name: "blind", Run: found(Unseen("as root", "may not"))},
		{Name: "behind", Needs: []string{"blind"}, Run: note("behind", Good("fine"))},
		{Name: "behind-that", Needs: []string{"behind"}, Run: note("behind that", Good("fine"))},
	})
	var got []string
	for _, r := range list {
		got = append(got, r.Status.String()+" "+Key(r.Check, r.About))
	}
	if s := strings.Join(got, ", "); s != "ok names a, fail port a, warn tls a, warn proxy, ok two x, ok two y, ok none, warn blind, warn behind, warn behind-that" {
		t.Error(s)
	}
	if !strings.Contains(list[2].Text, "not checked, because of: port a") {
		t.Errorf("tls: %+v", list[2])
	}
	if a, b, c := <-began, <-began, <-began; a != "names" || b != "port" || c != "proxy" || len(began) > 0 {
		t.Errorf("in the order %s, %s, %s, and %d more", a, b, c, len(began))
	}
}

func TestWhatHangsPanicsOrComesLateIsAFinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		began := time.Now()
		list := Run(t.Context(), Limit, []Check{
			{Name: "hangs", Run: func(context.Context) []Finding { <-forever; return nil }},
			{Name: "panics", Run: func(context.Context) []Finding { panic("oh") }},
			{Name: "obeys", Time: time.Second, Run: func(ctx context.Context) []Finding { <-ctx.Done(); return []Finding{Bad("next", "told in time")} }},
			{Name: "late", Time: time.Hour, Run: func(context.Context) []Finding { <-forever; return nil }},
			{Name: "behind", After: []string{"late"}, Run: found(Good("never"))},
		})
		if took := time.Since(began); took > Limit+time.Second {
			t.Errorf("took %s", took)
		}
		for i, w := range []struct {
			status Status
			text   string
		}{{Fail, "no answer within 5.2s"}, {Fail, "the check itself failed: oh"}, {Fail, "told in time"}, {Fail, "no answer within 15.2s"}, {Warn, "not checked, because others"}} {
			if list[i].Status != w.status || !strings.Contains(list[i].Text, w.text) || list[i].Next == "" {
				t.Errorf("%+v, want %s %q", list[i], w.status, w.text)
			}
		}
		close(forever)
	})
}

func TestReport(t *testing.T) {
	checks := []Check{
		{Group: "one", Name: "a", Run: found(Good("well\x1b[2J"))},
		{Group: "one", Name: "long-name", About: "x:1", Run: found(Doubt("look", "odd"))},
		{Group: "two", Name: "b", Run: found(Finding{Status: Fail, Text: "bad", Next: "mend", Detail: "line 1\nline 2"})},
		{Group: "two", Name: "c", Needs: []string{"b"}, Run: found()},
	}
	r := Examine(t.Context(), Report{Program: "agent", Version: "v1", Dir: "/d"}, checks)
	if r.Status != Fail || r.Counts != (Counts{OK: 1, Warn: 2, Fail: 1}) || r.Schema != SchemaVersion {
		t.Errorf("%+v", r)
	}
	r.Host, r.Seconds = "host", 0.25
	var b bytes.Buffer
	r.Print(&b, false)
	const text = `agent v1 on host, folder /d

one
  ok    a          well\x1b[2J
  warn  long-name  x:1: odd
                   -> look

two
  fail  b          bad
                   -> mend
                      line 1
                      line 2
  warn  c          not checked, because of: b

1 ok, 2 warn, 1 fail, in 0.2 s
`
	if b.String() != text {
		t.Errorf("printed:\n%s\nwant:\n%s", b.String(), text)
	}
	b.Reset()
	r.Print(&b, true)
	if !strings.Contains(b.String(), "\x1b[1;31mfail\x1b[0m") || strings.Contains(b.String(), "\x1b[2J") {
		t.Errorf("in colours: %q", b.String())
	}
	b.Reset()
	r.JSON(&b)
	var back Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Checks[1] != r.Checks[1] || back.Status != Fail {
		t.Errorf("%v: %+v", err, back)
	}
	for _, key := range []string{`"schema"`, `"program"`, `"version"`, `"time"`, `"seconds"`, `"host"`, `"system"`, `"user"`, `"dir"`, `"status": "fail"`, `"counts"`, `"checks"`, `"group"`, `"check"`, `"about"`, `"text"`, `"next"`, `"detail"`} {
		if !strings.Contains(b.String(), key) {
			t.Errorf("the JSON has no %s", key)
		}
	}
	if err := new(Status).UnmarshalText([]byte("maybe")); err == nil {
		t.Error("maybe is a status")
	}
}
