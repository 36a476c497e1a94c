package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/internal/table"
	"github.com/fieldpost/fieldpost/wire"
)

// The table in the documents is the code's.
func TestMetricsTable(t *testing.T) {
	text := table.Row("metric", "type", "labels", "meaning") + table.Row("---", "---", "---", "---")
	seen := map[string]bool{}
	for _, f := range families {
		if seen[f.name] || f.help == "" || f.kind == "counter" != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%s: twice, without help, or a counter that is not named as one", f.name)
		}
		seen[f.name] = true
		text += table.Row("`"+f.name+"`", f.kind, strings.Join(f.labels, ", "), f.help)
	}
	if err := table.Hold("../../docs/METRICS.md", "agent-metrics", text); err != nil {
		t.Error(err)
	}
}

// promtool finds nothing wrong with what is shown, also where names are hostile.
func TestExpositionIsPrometheus(t *testing.T) {
	s := &snapshot{Status: agent.Status{Lanes: []agent.LaneStatus{{Lane: `a"\` + "\n", State: agent.LaneFull, Dropped: map[wire.Reason]uint64{wire.ReasonExpired: 3},
		Syncs: agent.SyncTimes{Count: 2, Sum: agent.Seconds(time.Second), Bounds: []agent.Seconds{agent.Seconds(time.Millisecond)}, Within: []uint64{1}}}}},
		inputs: []input.Status{{Kind: "file", Messages: 2}, {Kind: "exec"}, {Kind: "exec", Restarts: 7}}, now: time.Now(), process: processNow()}
	text := string(exposition(families, s))
	for _, want := range []string{
		`fieldpost_agent_lane_state{lane="a\"\\\n",state="full"} 1` + "\n",
		`reason="expired"} 3` + "\n", `fieldpost_agent_input_restarts_total{input="exec"} 7` + "\n",
		`fieldpost_agent_fsync_seconds_bucket{lane="a\"\\\n",le="0.001"} 1` + "\n", `le="+Inf"} 2` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing: apt-get install prometheus")
		}
		t.Skip("promtool is missing: apt-get install prometheus")
	}
	c := exec.Command(path, "check", "metrics")
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
