package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

func TestVerifyAndBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, stderr := call(t, dir, "collector", "backup", "copy"); code != int(daemon.No) || !strings.Contains(stderr, "no journal here") {
		t.Errorf("backup of nothing: code %d\n%s", code, stderr)
	}
	server, listen, _ := collectorDaemon(t, dir)
	if p := start(t, dir, strings.NewReader("a\nb\n"), "agent", "run", "--id", "first", "--collector", listen); p.wait() != 0 {
		t.Fatal(p.stderr.String())
	}
	code, out, stderr := call(t, dir, "collector", "backup", "copy")
	if code != 0 || !strings.Contains(out, "2 messages") || !strings.Contains(out, "all is whole") {
		t.Fatalf("backup beside a collector: code %d\n%s%s", code, out, stderr)
	}
	if code, _, stderr := call(t, dir, "collector", "backup", "copy"); code != int(daemon.No) || !strings.Contains(stderr, "name another folder") {
		t.Errorf("backup onto a backup: code %d\n%s", code, stderr)
	}
	var v journal.Verified
	code, out, stderr = call(t, dir, "collector", "verify", "--json")
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || !v.OK || v.Messages != 2 {
		t.Errorf("verify beside a collector: code %d, %v\n%s%s", code, err, out, stderr)
	}
	server.stop()
	// The copy is the store, and gives what the store had.
	code, out, stderr = call(t, dir, "collector", "export", "--dir", "copy")
	if code != 0 || bodies(t, out) != "a\nb\n" {
		t.Errorf("export of the copy: code %d\n%s%s", code, out, stderr)
	}
	again, _, _ := collectorDaemon(t, dir, "--dir", "copy")
	again.stop()
	if code, out, stderr := call(t, dir, "collector", "audit", "--dir", "copy"); code != 0 || !strings.Contains(out, "1-2") {
		t.Errorf("audit of the copy after a collector ran with it: code %d\n%s%s", code, out, stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "fieldpost-collector", "*.journal"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[50] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr = call(t, dir, "collector", "verify")
	if code != int(daemon.No) || !strings.Contains(out, "DAMAGED: "+filepath.Base(files[0])) || !strings.Contains(stderr, "restore these files from a backup") {
		t.Errorf("verify of a damaged journal: code %d\n%s%s", code, out, stderr)
	}
}
