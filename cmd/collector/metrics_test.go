package main

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fieldpost/fieldpost/internal/table"
)

// The table in the documents is the code's.
func TestMetricsTable(t *testing.T) {
	text := table.Row("metric", "type", "labels", "meaning") + table.Row("---", "---", "---", "---")
	seen := map[string]bool{}
	for i := range families {
		f := &families[i]
		kind := map[prometheus.ValueType]string{prometheus.GaugeValue: "gauge", prometheus.CounterValue: "counter", 0: "histogram"}[f.kind]
		if seen[f.name] || f.help == "" || kind == "counter" != strings.HasSuffix(f.name, "_total") {
			t.Errorf("%s: twice, without help, or a counter that is not named as one", f.name)
		}
		seen[f.name] = true
		text += table.Row("`"+f.name+"`", kind, strings.Join(f.labels, ", "), f.help)
	}
	if err := table.Hold("../../docs/METRICS.md", "collector-metrics", text); err != nil {
		t.Error(err)
	}
}
