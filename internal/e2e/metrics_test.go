//go:build unix

package e2e

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// scrape returns the samples of a page by their family's name.
func scrape(t *testing.T, addr string) map[string][]string {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second}
	r, err := c.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	kinds, all := map[string]string{}, map[string][]string{}
	lines := bufio.NewScanner(r.Body)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		line := lines.Text()
		if f := strings.Fields(line); len(f) > 3 && f[1] == "TYPE" {
			kinds[f[2]] = f[3]
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, suffix); kinds[base] == "histogram" {
				name = base
			}
		}
		all[name] = append(all[name], line)
	}
	return all
}

// Every metric in the documents is shown by the daemons, and none that is not there.
func TestEveryMetricIsShown(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "")
	s.tls = 0
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	agentPages := freePort(t)
	s.agentConfig = "http: " + agentPages + "\nlanes: {alarms: {max_messages: 100}}\ninputs: [{file: {paths: [" + filepath.Join(dir, "*.log") + "]}}, {host: {interval: 1s}}, {exec: {command: [echo, hello], interval: 1s, lane: alarms}}]\n"
	s.collectorConfig = "agent_metrics: true\n"
	s.startCollector()
	s.startAgent()
	s.eventually("something is stored", func() bool {
		return strings.Contains(strings.Join(scrape(t, agentPages)["fieldpost_agent_acked_messages_total"], "\n"), `{lane="alarms"} 1`)
	})
	for name, page := range map[string]string{"agent": agentPages, "collector": s.pages} {
		shown := scrape(t, page)
		_, part, _ := strings.Cut(string(doc), "<!-- begin "+name+"-metrics")
		part, _, _ = strings.Cut(part, "<!-- end ")
		documented := map[string]bool{}
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`").FindAllStringSubmatch(part, -1) {
			documented[m[1]] = true
			if len(shown[m[1]]) == 0 {
				t.Errorf("the %s does not show %s", name, m[1])
			}
		}
		for metric := range shown {
			if strings.HasPrefix(metric, "fieldpost_") && !documented[metric] {
				t.Errorf("the %s shows %s, which no document has", name, metric)
			}
		}
		if len(documented) < 30 {
			t.Errorf("%d metrics of the %s are documented", len(documented), name)
		}
		for _, p := range []string{"healthz", "readyz"} {
			r, err := http.Get("http://" + page + "/" + p)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(r.Body); r.StatusCode != 200 || string(body) != "ok\n" {
				t.Errorf("%s of the %s: %d, %s", p, name, r.StatusCode, body)
			}
			r.Body.Close()
		}
		t.Logf("%s: %d metrics", name, len(documented))
	}
	http.DefaultClient.CloseIdleConnections()
}
