package guard

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden lists anew")

// TestAgentDependencies holds all packages that agent pulls into a program, but
// for the standard library's, against a list. A longer list is a decision: look
// at what is new, then run the test with -update.
func TestAgentDependencies(t *testing.T) {
	if p := readTree(t, root)["agent"]; p == nil || p.tests {
		return // not there
	}
	for _, system := range []string{"linux", "windows"} {
		out := goTool(t, []string{"GOOS=" + system, "GOARCH=amd64", "CGO_ENABLED=0"}, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./agent")
		got := strings.Fields(out)
		slices.Sort(got)
		file := filepath.Join("testdata", "agent-"+system+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(string(golden))
		for _, name := range got {
			if !slices.Contains(want, name) {
				t.Errorf("on %s agent pulls in %s, which %s does not have", system, name, file)
			}
		}
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("on %s agent does not pull in %s any more: take it from %s", system, name, file)
			}
		}
	}
}
