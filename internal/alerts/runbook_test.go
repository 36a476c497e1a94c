package alerts

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// rows returns the first cells of the table whose head begins so.
func rows(t *testing.T, book, head string) map[string]bool {
	_, part, ok := strings.Cut(book, "\n| "+head+" |")
	if !ok {
		t.Fatalf("%s has no table %q", runbook, head)
	}
	part, _, _ = strings.Cut(part, "\n\n")
	list := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^|]").FindAllStringSubmatch(part, -1) {
		list[m[1]] = true
	}
	return list
}

// The runbook has every state, cause, code and reason that the programs show, and none
// that they do not.
func TestRunbookHasEveryCode(t *testing.T) {
	book := read(t, runbook)
	var states, causes, reasons, refusals []string
	for _, s := range agent.LinkStates {
		states = append(states, string(s))
	}
	for _, c := range agent.LinkCauses {
		causes = append(causes, string(c))
	}
	for _, r := range wire.Reasons() {
		reasons = append(reasons, r.String())
	}
	for _, c := range wire.RefuseCodes() {
		refusals = append(refusals, "refused:"+string(c))
	}
	var codes []string
	for _, c := range []daemon.Code{daemon.OK, daemon.No, daemon.Usage, daemon.Unreachable, daemon.TryLater, daemon.Unknown, daemon.BadConfig} {
		codes = append(codes, fmt.Sprint(int(c)))
	}
	if n := len(regexp.MustCompile(`(?m)^  \d+ `).FindAllString(daemon.CodesHelp, -1)); n != len(codes) {
		t.Errorf("the help has %d exit codes, this test %d", n, len(codes))
	}
	for head, want := range map[string][]string{
		"state of the link": states, "cause": causes, "state of a lane": agent.LaneStates, "why a number has no message": reasons, "exit code": codes,
	} {
		have := rows(t, book, head)
		for _, w := range want {
			if !have[w] {
				t.Errorf("table %q has no row for %s", head, w)
			}
			delete(have, w)
		}
		for w := range have {
			t.Errorf("table %q has %s, which nobody shows", head, w)
		}
	}
	have := rows(t, book, "cause")
	for _, r := range refusals {
		if !have[r] {
			t.Errorf("table \"cause\" has no row for %s", r)
		}
	}
}
