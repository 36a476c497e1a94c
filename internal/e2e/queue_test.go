//go:build unix

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestAnOperatorLooksAndPurges runs the commands of `agent queue` on an agent without
// a link: they change nothing until a purge, which outlives a kill; the ledger has what
// it took, and all else is delivered.
func TestAnOperatorLooksAndPurges(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startCollector()
	s.startAgent()
	s.sendSome(30)
	s.drain()
	s.stopCollector()
	s.sendSome(300)

	queue := func(want int, args ...string) string {
		t.Helper()
		out, code, err := output(s.env, s.b.agent, append([]string{"queue", args[0], "--dir", s.agentDir}, args[1:]...)...)
		if code != want {
			t.Fatalf("%q: exit code %d, %v\n%s", args, code, err, out)
		}
		return string(out)
	}
	exported := queue(0, "export")
	if n := strings.Count(exported, "\n"); n != 300 {
		t.Fatalf("%d lines", n)
	}
	if list := queue(0, "ls"); !strings.Contains(list, "accepting") || !strings.Contains(list, " 300 ") {
		t.Errorf("ls: %s", list)
	}
	if would := queue(0, "purge", "--lane", "default"); !strings.HasPrefix(would, "300 messages") {
		t.Errorf("without --yes: %s", would)
	}
	var p struct{ Messages int }
	if err := json.Unmarshal([]byte(queue(0, "purge", "--lane", "default", "--before", "231", "--yes", "--json")), &p); err != nil || p.Messages != 200 {
		t.Fatalf("%+v, %v", p, err)
	}
	s.agent.kill()
	resting := queue(0, "export")
	if lines := strings.SplitAfter(exported, "\n"); strings.Join(lines[200:], "") != resting {
		t.Error("the folder does not hold what the agent held beyond what was purged")
	}
	s.startAgent()
	s.sendSome(10)
	s.startCollector()
	s.drain()

	if v := s.judge(); v.Missing != 200 || v.Doubled+v.Misplaced+v.Foreign > 0 {
		t.Errorf("want 200 purged and nothing else: %v", &v)
	}
	code, said := s.audit()
	if code != 0 || !strings.Contains(said, "200 purged") || !strings.Contains(said, "31-230") {
		t.Errorf("audit: exit code %d; want 0 and the 200 purged numbers\n%s", code, said)
	}
	if list := queue(0, "ls"); !strings.Contains(list, "200 dropped, purged, between 31 and 230\n") {
		t.Errorf("ls: %s", list)
	}
}
