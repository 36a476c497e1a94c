package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestGaugesReadThisHost(t *testing.T) {
	for _, g := range gauges() {
		b, err := json.Marshal(g.take(1, 2))
		if err != nil {
			t.Errorf("%s: %v", g.topic, err)
		}
		var r reading
		if err := json.Unmarshal(b, &r); err != nil || r.Run != 1 || r.N != 2 || r.Error != "" || r.Value == nil {
			t.Errorf("%s: %s, %v", g.topic, b, err)
		}
	}
}

func TestScriptIsInOrderForAnyNumberOfAgents(t *testing.T) {
	for n := 1; n <= 4; n++ {
		at := 0.0
		for _, s := range script(n) {
			if s.at <= at || s.at >= 1 {
				t.Errorf("%d agents: %q at %v, after %v", n, s.say, s.at, at)
			}
			at = s.at
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{Agents: 3, Duration: 20 * time.Second}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for flag, o := range map[string]Options{
		"--agents":   {Agents: 0, Duration: time.Minute},
		"--duration": {Agents: 1, Duration: time.Second},
		"--file":     {Agents: 1, Duration: time.Minute, File: filepath.Join(t.TempDir(), "missing")},
		"--file ":    {Agents: 1, Duration: time.Minute, File: t.TempDir()},
	} {
		if err := o.check(); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := makeDir(&Options{Dir: used}); err == nil {
		t.Error("a folder with files in it was taken for a fresh one")
	}
}

func TestVerdict(t *testing.T) {
	v := verdict{Verdict: oracle.Verdict{Tally: oracle.Tally{Accepted: 10, Stored: 10}}}
	v.audit.OK = true
	if err := v.err(); err != nil || v.line() != "accepted 10 stored 10 dropped 0 doubled 0 unexplained 0" {
		t.Errorf("%q, %v", v.line(), err)
	}
	for name, spoil := range map[string]func(*verdict){
		"missing":      func(v *verdict) { v.Stored, v.Missing = 9, 1 },
		"dropped":      func(v *verdict) { v.Stored, v.Missing, v.dropped = 9, 1, 1 },
		"doubled":      func(v *verdict) { v.Doubled = 1 },
		"out of order": func(v *verdict) { v.Misplaced = 1 },
		"never sent":   func(v *verdict) { v.Foreign = 1 },
		"audit":        func(v *verdict) { v.audit.OK = false },
		"nothing":      func(v *verdict) { v.Accepted, v.Stored = 0, 0 },
	} {
		bad := v
		spoil(&bad)
		if bad.err() == nil {
			t.Errorf("%s: passes as good", name)
		}
	}
	v.Stored, v.Missing, v.dropped, v.Doubled, v.Foreign = 7, 3, 1, 4, 2
	if got := v.line(); got != "accepted 10 stored 7 dropped 1 doubled 4 unexplained 4" {
		t.Error(got)
	}
}

func TestPlainViewPrintsALineEveryTwoSeconds(t *testing.T) {
	var out strings.Builder
	v := newView(&out)
	st := &station{id: "agent-1"}
	st.hear(`{"state":"connected","accepted":12,"delivered":10,"backlog":2}`)
	st.hear("no json")
	v.say("SIGKILL to the collector")
	v.figures([]*station{st})
	v.figures([]*station{st})
	got := out.String()
	if strings.Count(got, "\n") != 2 || strings.Contains(got, "\x1b") ||
		!strings.Contains(got, "agent-1 connected accepted 12 delivered 10 backlog 2 0/s") {
		t.Errorf("%q", got)
	}
}

func TestLiveViewRedrawsInPlace(t *testing.T) {
	var out strings.Builder
	v := newView(&out)
	v.live, v.size = true, func() (int, int) { return 80, 24 }
	stations := []*station{{id: "agent-1"}, {id: "agent-2"}}
	v.figures(stations)
	v.figures(stations)
	v.say("done")
	if got := strings.Count(out.String(), "\x1b[4A\x1b[J"); got != 2 {
		t.Errorf("erased %d times, want 2:\n%q", got, out.String())
	}
}

// A table that is higher or wider than the terminal cannot be redrawn in place.
func TestLiveViewFitsTheTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var out strings.Builder
	v := newView(&out)
	var stations []*station
	for n := range 30 {
		st := &station{id: fmt.Sprintf("agent-%d", n+1)}
		st.hear(`{"state":"different-store","accepted":1234567890,"delivered":1234567890,"backlog":123456789}`)
		stations = append(stations, st)
	}
	v.live, v.size = true, func() (int, int) { return 80, 24 }
	v.figures(stations)
	if v.drawn > 22 || !strings.Contains(out.String(), "and 11 more") {
		t.Errorf("%d lines in 24 rows:\n%s", v.drawn, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if len(line)-1 > tableWidth {
			t.Errorf("%d columns: %q", len(line)-1, line)
		}
	}
	v.size = func() (int, int) { return 40, 24 }
	out.Reset()
	v.figures(stations[:1])
	if got := out.String(); v.drawn != 0 || strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "\x1b[22A") {
		t.Errorf("in 40 columns: %q", got)
	}
}
