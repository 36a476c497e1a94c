package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A journal whose newest segment's head is unreadable, with all before it gone,
// does not open; the error says what to do, and doing that clears it.
func TestRepair(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	troubled(t, store, "pump-7")
	if code, out, _ := call(t, dir, "collector", "repair", "--dir", "store"); code != 0 || !strings.Contains(out, "nothing to repair") {
		t.Errorf("a whole journal: exit code %d\n%s", code, out)
	}
	path := filepath.Join(store, "0000000001.journal")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hurt := func(from, to int) {
		t.Helper()
		c := append([]byte(nil), b...)
		clear(c[from:to])
		if err := os.WriteFile(path, c, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A record in the middle.
	hurt(430, 450)
	if code, _, stderr := call(t, dir, "collector", "verify", "--dir", "store"); code != 1 || !strings.Contains(stderr, "repair") {
		t.Errorf("verify of a damaged journal: exit code %d, %s", code, stderr)
	}
	code, out, _ := call(t, dir, "collector", "repair", "--dir", "store")
	if code != 0 || !strings.Contains(out, "nothing is changed without --yes") || !strings.Contains(out, "0000000001.journal") {
		t.Errorf("repair without --yes: exit code %d\n%s", code, out)
	}
	code, out, _ = call(t, dir, "collector", "repair", "--dir", "store", "--yes")
	if code != 0 || !strings.Contains(out, "done: 1 records are gone") {
		t.Errorf("repair: exit code %d\n%s", code, out)
	}
	if code, out, _ := call(t, dir, "collector", "verify", "--dir", "store"); code != 0 {
		t.Errorf("verify of the repaired journal: exit code %d\n%s", code, out)
	}
	// The head and the first records: the memory is gone.
	hurt(0, 500)
	p := start(t, dir, nil, "collector", "run", "--dir", "store", "--listen", "127.0.0.1:0", "--http", "off")
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "0000000001.journal") || !strings.Contains(p.stderr.String(), "collector repair") {
		t.Errorf("run: exit code %d\n%s", code, p.stderr.String())
	}
	if code, out, stderr := call(t, dir, "collector", "repair", "--dir", "store", "--yes", "--json"); code != 0 || !strings.Contains(out, `"new_store"`) {
		t.Errorf("repair: exit code %d\n%s%s", code, out, stderr)
	}
	running, _, _ := collectorDaemon(t, dir, "--dir", "store")
	if code, _, stderr := call(t, dir, "collector", "repair", "--dir", "store", "--yes"); code != 75 {
		t.Errorf("repair beside a collector: exit code %d\n%s", code, stderr)
	}
	running.stop()
	old, err := filepath.Glob(filepath.Join(store, "store-*"))
	if err != nil || len(old) != 1 {
		t.Fatalf("old stores: %v, %v", old, err)
	}
	if code, out, _ := call(t, dir, "collector", "audit", "--dir", old[0]); code != 1 || !strings.Contains(out, "pump-7") {
		t.Errorf("audit of the old store: exit code %d\n%s", code, out)
	}
	if code, _, _ := call(t, dir, "collector", "repair", "--dir", "nothing"); code != 1 {
		t.Errorf("no folder: exit code %d", code)
	}
}
