package service

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var sample = Daemon{
	Name: "fieldpost-agent", Description: "Fieldpost agent: keeps messages on disk until a collector has stored them",
	Program: "/usr/bin/fieldpost-agent", Args: []string{"run", "--config", "/etc/fieldpost/agent.yaml"},
	Config: "/etc/fieldpost/agent.yaml", Data: "/var/lib/fieldpost/agent", User: "fieldpost", MemoryMax: 512 << 20, Files: 4096,
}

// needs skips a test by name where a program is missing; CI has it.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" && runtime.GOOS == "linux" {
			t.Fatalf("CI must have %s: %v", program, err)
		}
		t.Skipf("%s is not here: %v", program, err)
	}
}

// systemd takes the unit without a warning, and rates it 1.5 or better.
func TestTheUnitIsSoundAndHardened(t *testing.T) {
	needs(t, "systemd-analyze")
	d := sample
	d.Program = "/bin/true" // it must be there
	path := filepath.Join(t.TempDir(), "fieldpost-agent.service")
	if err := os.WriteFile(path, []byte(d.Unit()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || strings.Contains(string(out), "fieldpost-agent.service") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", path).CombinedOutput()
	if err != nil {
		t.Errorf("the exposure is above 1.5: %v\n%s", err, out)
	}
	t.Log(string(out[bytes.LastIndexByte(bytes.TrimSpace(out), '\n')+1:]))
}

func TestWordsOfACommandLine(t *testing.T) {
	for in, want := range map[string]string{
		"run": "run", "": `""`, "/my folder/a": `"/my folder/a"`, "100%": "100%%", "$HOME": "$$HOME",
		`say "hi"`: `"say \"hi\""`, `C:\x`: `"C:\\x"`, "a\nb\tc": `"a\nb\tc"`,
	} {
		if got := quote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestStepsAreDoneOnce(t *testing.T) {
	dir := t.TempDir()
	me := owner("")
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" && runtime.GOOS == "linux" {
			t.Fatal("CI must run this as root, who alone gives files away")
		}
		t.Skip("only root gives files away")
	}
	steps := func(content string) []step {
		return []step{
			folder(filepath.Join(dir, "data"), 0o700, me),
			file(filepath.Join(dir, "data", "config"), []byte(content), 0o640, true, me),
			file(filepath.Join(dir, "data", "unit"), []byte(content), 0o644, false, me),
		}
	}
	var b bytes.Buffer
	if err := run(&b, true, steps("one")); err != nil || strings.Count(b.String(), "would ") != 3 {
		t.Fatalf("dry: %v\n%s", err, &b)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Fatal("a dry run made a folder")
	}
	for i, want := range []int{0, 3, 2} { // of the last, the unit is written again, the configuration stays
		b.Reset()
		content := "one"
		if i == 2 {
			content = "two"
		}
		if err := run(&b, false, steps(content)); err != nil || strings.Count(b.String(), "done already") != want {
			t.Fatalf("%d: %v\n%s", i, err, &b)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	config, _ := os.ReadFile(filepath.Join(dir, "data", "config"))
	unit, _ := os.ReadFile(filepath.Join(dir, "data", "unit"))
	if string(config) != "one" || string(unit) != "two" {
		t.Errorf("config %q, unit %q", config, unit)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "data", ".*"))
	if len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(&b, false, []step{folder(filepath.Join(dir, "plain"), 0o700, me)}); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file in a folder's place: %v", err)
	}
	if err := run(&b, false, []step{remove(filepath.Join(dir, "data")), remove(filepath.Join(dir, "data"))}); err != nil {
		t.Error(err)
	}
}
