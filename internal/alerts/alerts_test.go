package alerts

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	rules   = "../../install/prometheus/fieldpost-alerts.yml"
	runbook = "../../docs/OPERATIONS.md"
	metrics = "../../docs/METRICS.md"
)

// promtool returns its path; CI must have it.
func promtool(t *testing.T) string {
	path, err := exec.LookPath("promtool")
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatal("promtool is missing: apt-get install prometheus")
	default:
		t.Skip("promtool is missing: apt-get install prometheus")
	}
	return ""
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRulesAreGood(t *testing.T) {
	out, err := exec.Command(promtool(t), "check", "rules", rules).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is well raises nothing, and each fault raises its own alert alone.
func TestEachFaultRaisesItsAlert(t *testing.T) {
	tool := promtool(t)
	abs, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	text := "rule_files: [" + abs + "]\nevaluation_interval: 1m\ntests:\n"
	test := func(name, series, values, raises string) {
		text += fmt.Sprintf("  - name: '%s'\n    interval: 1m\n    input_series:\n", name)
		for _, s := range slices.Sorted(maps.Keys(healthy)) {
			v := healthy[s]
			if s == series {
				v = values
			}
			if v != "" {
				text += fmt.Sprintf("      - {series: '%s', values: '%s'}\n", s, v)
			}
		}
		text += "    promql_expr_test:\n      - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n        eval_time: 115m\n        exp_samples: [" + raises + "]\n"
	}
	test("all is well", "", "", "")
	tested := map[string]bool{}
	for _, f := range faults {
		if _, ok := healthy[f.series]; !ok {
			t.Errorf("%s: the healthy site has no series %s", f.alert, f.series)
		}
		test(f.alert+" by "+f.series, f.series, f.values, fmt.Sprintf(`{labels: '{alertname="%s"}', value: 1}`, f.alert))
		tested[f.alert] = true
	}
	path := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range alerts(t) {
		if !tested[name] {
			t.Errorf("no fault raises %s", name)
		}
	}
}

func alerts(t *testing.T) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(read(t, rules), -1) {
		names = append(names, m[1])
	}
	if len(names) < 10 {
		t.Fatalf("%d alerts are found", len(names))
	}
	return names
}

// Each alert has its part of the runbook, each part its alert, and no rule speaks of a
// metric that no daemon shows.
func TestRunbookAndMetricsAreThere(t *testing.T) {
	text, book, known := read(t, rules), read(t, runbook), read(t, metrics)
	names := alerts(t)
	for _, name := range names {
		if !strings.Contains(book, "\n#### "+name+"\n") {
			t.Errorf("%s has no part %q", runbook, "#### "+name)
		}
		if !strings.Contains(text, "OPERATIONS.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not point to its part of the runbook", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^#### (Fieldpost\w+)$`).FindAllStringSubmatch(book, -1) {
		if !slices.Contains(names, m[1]) {
			t.Errorf("the runbook has %s, which is no alert", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`fieldpost_\w+`).FindAllString(text, -1) {
		if !strings.Contains(known, "`"+strings.TrimSuffix(m, "_bucket")+"`") {
			t.Errorf("the rules speak of %s, which no daemon shows", m)
		}
	}
}
