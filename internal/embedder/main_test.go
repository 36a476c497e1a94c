package main

import (
	"bytes"
	"debug/buildinfo"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden list anew")

// TestEmbedder builds the program as a user would, runs it, and holds the modules
// it was built from against a list: a user of the agent gets these and no others,
// whatever the commands and the tests of this repository need.
func TestEmbedder(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "embedder.exe")
	run(t, nil, "go", "build", "-o", binary, ".")

	dir := filepath.Join(t.TempDir(), "queue")
	for _, want := range []string{"accepted: 1\n", "accepted: 2\n"} { // the second run finds the first one's message
		if out := run(t, nil, binary, dir); !strings.HasSuffix(out, want) {
			t.Errorf("the program says %q, want %q", out, want)
		}
	}

	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var built []string
	for _, m := range info.Deps {
		built = append(built, m.Path)
	}
	slices.Sort(built)
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(built, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, "the binary", built)

	// The other systems, without building for them.
	for _, system := range []string{"linux", "windows", "darwin"} {
		out := run(t, []string{"GOOS=" + system, "GOARCH=arm64"}, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".")
		list := strings.Fields(out)
		slices.Sort(list)
		hold(t, "a build for "+system, slices.Compact(list))
	}
}

const golden = "testdata/modules.txt"

// hold compares a sorted list of modules with the golden one.
func hold(t *testing.T, what string, got []string) {
	t.Helper()
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(b))
	for _, m := range got {
		if !slices.Contains(want, m) {
			t.Errorf("%s pulls in %s, which %s does not have: if it must be so, run the test with -update", what, m, golden)
		}
	}
	for _, m := range want {
		if !slices.Contains(got, m) {
			t.Errorf("%s does not pull in %s any more: take it from %s", what, m, golden)
		}
	}
}

// run runs a command and returns all it prints.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.Bytes())
	}
	return out.String()
}
