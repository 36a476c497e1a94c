package guard

import (
	"fmt"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// may says which of our packages a package may import itself. It is the picture
// of docs/ARCHITECTURE.md; a package that is not in it may import what it likes,
// within the rules of never.
var may = map[string][]string{
	"wire":      nil,
	"heartbeat": nil,

	"internal/boot":     nil,
	"internal/durable":  nil,
	"internal/sabotage": nil,
	"internal/lanes":    {"wire"},
	"internal/carry":    {"wire"},
	"internal/pki":      {"wire", "internal/durable"},

	"queue":     {"wire", "internal/boot", "internal/durable", "internal/sabotage"},
	"transport": {"wire", "heartbeat"},
	"agent":     {"transport", "queue", "wire", "internal/carry", "internal/durable", "internal/lanes", "internal/pki"},

	"collector":           {"wire", "heartbeat", "internal/carry", "internal/pki", "internal/sabotage"},
	"collector/ledger":    {"wire", "internal/sabotage"},
	"collector/enroll":    {"collector", "wire", "internal/pki"},
	"collector/journal":   {"collector", "collector/ledger", "wire", "internal/durable", "internal/sabotage"},
	"collector/storetest": {"collector", "collector/ledger", "wire"},
}

// never says what packages do not reach by any way.
var never = []struct {
	packages, reach []string
	why             string
}{
	{[]string{"agent", "cmd/agent", "input/..."}, []string{"collector/..."}, "an edge machine carries no collector"},
	{[]string{"collector/..."}, []string{"agent", "queue", "transport", "input/..."}, "a collector carries no agent"},
	{[]string{"agent", "collector"}, []string{
		"net/http", "github.com/prometheus/...", "github.com/VictoriaMetrics/...", "github.com/spf13/...", "github.com/goccy/...",
		"github.com/nats-io/...", "github.com/jackc/...", "github.com/shirou/...", "github.com/fsnotify/...", "input/...",
	}, "an embedder pulls in no HTTP, metrics, command line, input or store's client"},
	{[]string{"cmd/agent"}, []string{"github.com/prometheus/..."}, "the agent stays small"},
	{[]string{"wire", "heartbeat"}, []string{"os", "net", "log", "log/slog", "sync"}, "bytes in, bytes out: no I/O, no logging, no goroutines"},
	{[]string{"wire", "queue", "transport", "agent", "heartbeat", "collector/...", "cmd/agent", "internal/config", "internal/control", "internal/daemon"},
		[]string{"internal/demo", "internal/e2e", "internal/faultnet", "internal/guard", "internal/oracle", "internal/sim", "testing"}, "what tests the product is not part of it"},
}

// exempt are packages that a rule of never would wrongly catch.
var exempt = map[string]string{"collector/storetest": "testing"}

// violations returns every import of all that breaks a rule.
func violations(all tree) (found []string) {
	for folder, p := range all {
		allowed, ruled := may[folder]
		for _, name := range all.ours(folder) {
			if ruled && !slices.Contains(allowed, name) {
				found = append(found, fmt.Sprintf("%s imports %s: it may import %q of ours", folder, name, allowed))
			}
		}
		if (folder == "wire" || folder == "heartbeat") && len(p.spawns) > 0 {
			found = append(found, fmt.Sprintf("%s starts a goroutine at %s", folder, p.spawns[0]))
		}
		if p.tests {
			continue
		}
		chains := all.chains(folder)
		for _, rule := range never {
			if !slices.ContainsFunc(rule.packages, func(s string) bool { return matches(s, folder) }) {
				continue
			}
			for name, way := range chains {
				if exempt[folder] != name && slices.ContainsFunc(rule.reach, func(s string) bool { return matches(s, name) }) {
					found = append(found, fmt.Sprintf("%s: %s", way, rule.why))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func TestWhoImportsWhom(t *testing.T) {
	all := readTree(t, root)
	if all["wire"] == nil || all["internal/guard"] == nil {
		t.Fatalf("the tree was not read: %d packages", len(all))
	}
	for _, v := range violations(all) {
		t.Error(v)
	}
}

// TestViolationsAreSeen gives the rules trees that break them.
func TestViolationsAreSeen(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string // file: its code below the package clause
		want  []string
	}{
		{"a tree that keeps them", map[string]string{
			"wire/a.go": `import "bytes"`, "queue/a.go": `import "github.com/fieldpost/fieldpost/wire"`, "agent/a.go": `import ("github.com/fieldpost/fieldpost/queue"; "os")`,
		}, nil},
		{"wire imports one of ours", map[string]string{
			"wire/a.go": `import "github.com/fieldpost/fieldpost/heartbeat"`, "heartbeat/a.go": "",
		}, []string{"wire imports heartbeat"}},
		{"queue imports transport, in one file of one system", map[string]string{
			"queue/a.go": "", "queue/a_windows.go": `import "github.com/fieldpost/fieldpost/transport"`, "transport/a.go": "",
		}, []string{"queue imports transport"}},
		{"agent reaches collector by another package", map[string]string{
			"agent/a.go": `import "github.com/fieldpost/fieldpost/queue"`, "queue/a.go": `import "github.com/fieldpost/fieldpost/wire"`,
			"wire/a.go": `import "github.com/fieldpost/fieldpost/collector/ledger"`, "collector/ledger/a.go": "",
		}, []string{"agent -> queue -> wire -> collector/ledger: an edge machine carries no collector", "wire imports collector/ledger"}},
		{"collector imports agent", map[string]string{
			"collector/a.go": `import "github.com/fieldpost/fieldpost/agent"`, "agent/a.go": "",
		}, []string{"collector -> agent: a collector carries no agent", "collector imports agent"}},
		{"a library of metrics", map[string]string{
			"agent/a.go": `import "github.com/prometheus/client_golang/prometheus"`,
		}, []string{"agent -> github.com/prometheus/client_golang/prometheus: an embedder"}},
		{"wire logs and starts goroutines", map[string]string{
			"wire/a.go": `import "log/slog"; func f() { go f() }`,
		}, []string{"wire -> log/slog", "wire starts a goroutine"}},
		{"tests may import what they like", map[string]string{
			"queue/a.go": "", "queue/a_test.go": `import "github.com/fieldpost/fieldpost/transport"`, "transport/a.go": "",
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := violations(parseTree(t, c.files))
			if len(got) != len(c.want) {
				t.Fatalf("found %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("found %q, want %q", got[i], want)
				}
			}
		})
	}
}

// parseTree is readTree of files that are not there.
func parseTree(t *testing.T, files map[string]string) tree {
	t.Helper()
	all := tree{}
	fset := token.NewFileSet()
	for file, code := range files {
		f, err := parser.ParseFile(fset, file, "package p\n"+code, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all.add(file, f, fset)
	}
	return all
}
