//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Rule 16: sticks and receipts between two processes that have no link, then with
// one; both are killed between the steps. Every message is stored once.
func TestCarryFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	dir := filepath.Dir(s.agentDir)
	stick := func(n int) string { return filepath.Join(dir, fmt.Sprintf("stick-%d.carry", n)) }
	must := func(bin string, args ...string) string {
		t.Helper()
		out, code, err := output(s.env, bin, args...)
		if code != 0 || err != nil {
			t.Fatalf("exit code %d, %v\n%s", code, err, out)
		}
		return string(out)
	}
	export := func(n int, more ...string) {
		t.Helper()
		must(s.b.agent, append([]string{"queue", "export", "--dir", s.agentDir, "--carry", stick(n)}, more...)...)
	}
	take := func(n int) string {
		t.Helper()
		return must(s.b.collector, "import", "--dir", s.collectorDir, stick(n))
	}
	receipt := func(n int) string {
		t.Helper()
		return must(s.b.agent, "queue", "receipt", "--dir", s.agentDir, stick(n)+".receipt")
	}

	s.startCollector()
	s.link.Refuse(true)
	s.startAgent()
	s.sendSome(120)
	stop := s.produce(2, 0)
	export(1) // beside an agent that is sending
	stop()
	if out := take(1); !strings.Contains(out, "0 known") {
		t.Errorf("the first import: %s", out)
	}
	export(2) // overlaps the first
	s.agent.kill()
	export(3) // of a folder at rest
	if _, code, err := output(s.env, s.b.agent, "queue", "export", "--dir", s.agentDir, "--carry", stick(3)); code != 1 {
		t.Errorf("a file that is there is replaced: exit code %d, %v", code, err)
	}
	take(3)
	take(2)
	if out := take(2); !strings.Contains(out, " 0 messages stored") {
		t.Errorf("a stick that was imported before: %s", out)
	}
	s.collector.kill()
	before := s.restingStatus()
	receipt(1) // the folder at rest, out of order
	receipt(3)
	if out := receipt(1); !strings.Contains(out, "nothing new") {
		t.Errorf("an old receipt: %s", out)
	}
	st := s.restingStatus()
	if before.backlog() == 0 || st.backlog() != 0 {
		t.Errorf("%d messages waited before the receipts, and %d do after them", before.backlog(), st.backlog())
	}
	s.startAgent()
	s.sendSome(50)
	export(4, "--all")
	take(4) // into the folder of a collector that does not run

	// A damaged stick: nothing of it is taken.
	b, err := os.ReadFile(stick(4))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	for name, content := range map[string][]byte{"damaged": b, "cut": b[:len(b)-1], "foreign": []byte("hello\n"), "empty": nil} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, code, err := output(s.env, s.b.collector, "import", "--dir", s.collectorDir, path); code != 1 || !strings.Contains(err.Error(), "nothing was taken") {
			t.Errorf("%s: exit code %d, %v", name, code, err)
		}
		if _, code, err := output(s.env, s.b.agent, "queue", "receipt", "--dir", s.agentDir, path); code != 1 || err == nil {
			t.Errorf("%s as a receipt: exit code %d, %v", name, code, err)
		}
	}

	// The link comes up, while another stick has what it delivers.
	s.sendSome(50)
	export(5)
	s.startCollector()
	s.link.Heal()
	stop = s.produce(2, 0)
	take(5)
	receipt(5)
	stop()
	receipt(4)
	s.drain()
	if out := take(1); !strings.Contains(out, " 0 messages stored") {
		t.Errorf("the first stick once more: %s", out)
	}
	s.mustHold()
	if list, _ := filepath.Glob(filepath.Join(dir, ".stick*")); len(list) > 0 {
		t.Errorf("left behind: %q", list)
	}
	if out := must(s.b.collector, "export", "--dir", s.collectorDir, "--format", "jsonl"); bytes.Count([]byte(out), []byte("\n")) < 220 {
		t.Errorf("only so much is stored: %s", out)
	}
}

// Sticks of agents that are enrolled: signed on one side, verified on the other, and
// the receipt the other way round; a stick in another agent's name brings nothing.
func TestCarryFilesAreProven(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.secured(0)
	dir := filepath.Dir(s.agentDir)
	run := func(want int, says, bin string, args ...string) {
		t.Helper()
		out, code, err := output(s.env, bin, args...)
		if said := fmt.Sprintf("%s%v", out, err); code != want || !strings.Contains(said, says) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", args, code, want, says, said)
		}
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	export := func(folder, to string) {
		t.Helper()
		run(0, "", s.b.agent, "queue", "export", "--dir", folder, "--carry", path(to))
	}
	send := func(folder, id string) {
		t.Helper()
		run(0, "", s.b.agent, "send", "--dir", folder, "--id", id, "hello")
	}

	s.startCollector()
	if code, said := s.enroll(s.agentDir, agentID, s.link.Addr(), s.token()); code != 0 {
		t.Fatal(said)
	}
	send(s.agentDir, agentID)
	export(s.agentDir, "proven")
	island := path("island") // of the same id, and never enrolled
	send(island, agentID)
	export(island, "unproven")
	run(1, "it is not signed", s.b.collector, "import", "--dir", s.collectorDir, path("unproven"))
	run(0, "1 messages stored", s.b.collector, "import", "--dir", s.collectorDir, path("proven"))

	b, err := os.ReadFile(path("proven.receipt"))
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("signature "))
	if err := os.WriteFile(path("bare"), b[:max(0, i)], 0o600); err != nil || i < 0 {
		t.Fatalf("the receipt is not signed: %v\n%s", err, b)
	}
	run(1, "not signed", s.b.agent, "queue", "receipt", "--dir", s.agentDir, path("bare"))
	run(0, "are stored and freed", s.b.agent, "queue", "receipt", "--dir", s.agentDir, path("proven.receipt"))

	// At rest as well; and revoked.
	send(s.agentDir, agentID)
	export(s.agentDir, "second")
	s.collector.kill()
	run(1, "it is not signed", s.b.collector, "import", "--dir", s.collectorDir, path("unproven"))
	run(0, "1 messages stored", s.b.collector, "import", "--dir", s.collectorDir, path("second"))
	run(0, "are stored and freed", s.b.agent, "queue", "receipt", "--dir", s.agentDir, path("second.receipt"))
	send(s.agentDir, agentID)
	export(s.agentDir, "third")
	run(0, "", s.b.collector, "agents", "revoke", "--dir", s.collectorDir, agentID)
	run(1, "revoked", s.b.collector, "import", "--dir", s.collectorDir, path("third"))
	run(0, "1 messages stored", s.b.collector, "import", "--dir", s.collectorDir, "--unsigned", path("unproven"))
	run(0, "", s.b.collector, "audit", "--dir", s.collectorDir)
}

// backlog is what waits in all lanes.
func (st *status) backlog() (n uint64) {
	for _, l := range st.Lanes {
		n += l.Backlog
	}
	return n
}
