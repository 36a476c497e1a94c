//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
)

// collectorSays runs a command of the collector on its folder.
func (s *site) collectorSays(code int, args ...string) string {
	s.t.Helper()
	out, got, err := output(s.env, s.b.collector, append(args, "--dir", s.collectorDir)...)
	if got != code {
		s.t.Errorf("collector %s: exit code %d, want %d: %v\n%s", strings.Join(args, " "), got, code, err, out)
	}
	return string(out)
}

// agentSays is what the status command prints about the folder.
func (s *site) agentSays() string {
	s.t.Helper()
	out, _, err := output(s.env, s.b.agent, "status", "--dir", s.agentDir)
	if err != nil {
		s.t.Error(err)
	}
	return string(out)
}

// has looks for what a text must say.
func (s *site) has(what, text string, want ...string) {
	s.t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			s.t.Errorf("%s does not say %q:\n%s", what, w, text)
		}
	}
}

// Rules 1 and 2: what the collector and the agent say of a folder that was put
// back, and that nothing is left to do about it.
func TestARestoredFolderIsExplained(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	restoreAgent(s)
	s.mustHold()
	s.has("collector agents", s.collectorSays(0, "agents"), "rolled back", "collector agents pump-7")
	s.has("collector agents pump-7", s.collectorSays(0, "agents", agentID), "rolled back", "common up to 50 with epoch", "next, rolled back:", "with the agent")
	s.has("audit", s.collectorSays(0, "audit"), "HISTORY: agent pump-7", "rolled back")
	s.has("the collector's log", s.collector.said.tail(), "incident=rolled-back", "forked_from=", "next=")
	s.has("agent status", s.agentSays(), "rolled back", "next, rolled back: nothing is lost or doubled")
}

// Rules 1, 2 and 15: the image of a folder runs on three machines at once. All that
// each of them accepted is stored once; whoever is fenced says why, and the
// collector too. What they say to do clears it.
func TestAFolderClonedToThreeMachines(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startCollector()
	s.startAgent()
	s.sendSome(40)
	s.drain()
	image := s.agentDir + "-image"
	s.stopAgent()
	copyDir(t, image, s.agentDir)
	dirs := []string{s.agentDir, s.agentDir + "-b", s.agentDir + "-c"}
	var machines []*process
	for _, dir := range dirs {
		if dir != dirs[0] {
			copyDir(t, dir, image)
		}
		s.agentDir = dir
		s.startAgent()
		machines = append(machines, s.agent)
		s.sendSome(20)
		s.drain()
	}
	// The third has the link. The others keep what they accept.
	for i, dir := range dirs[:2] {
		s.agentDir = dir
		s.eventually(fmt.Sprintf("machine %d says that it has a double", i+1), func() bool {
			st, err := s.liveStatus()
			return err == nil && st.Link.State == "duplicate-identity"
		})
		s.has("agent status", s.agentSays(), "duplicate-identity", "id of its own")
		s.sendSome(10)
	}
	s.has("collector agents", s.collectorSays(0, "agents"), "another process took over its id", "rolled back")
	s.has("the collector's log", s.collector.said.tail(), "two agents share an id")

	// What is to be done: the clones are stopped, deliver what they have one after
	// another, and get ids and folders of their own.
	for _, p := range machines {
		p.signal(syscall.SIGTERM)
		p.exit(t, 10*time.Second)
	}
	for _, dir := range append([]string{dirs[1], dirs[2]}, dirs[0]) {
		s.agentDir = dir
		s.startAgent()
		s.drain()
		if dir != dirs[0] {
			s.stopAgent()
		}
	}
	s.sendSome(10)
	s.drain()
	other := launch(t, s.env, strings.NewReader("one\ntwo\n"), "another agent", s.b.agent, "run", "--insecure-plaintext", "--id", "pump-8", "--dir", s.agentDir+"-8", "--collector", s.link.Addr())
	if code := other.exit(t, 30*time.Second); code != 0 {
		t.Errorf("the clone with an id of its own: exit code %d\n%s", code, other.said.tail())
	}
	st, err := s.liveStatus()
	if err != nil || st.Link.State != "connected" {
		t.Errorf("afterwards the link is %q, %v", st.Link.State, err)
	}
	if v := s.judge(); v.Missing+v.Doubled+v.Misplaced > 0 { // pump-8's are foreign to it
		t.Errorf("%v", &v)
	}
	if code, said := s.audit(); code != 0 {
		t.Errorf("audit: exit code %d\n%s", code, said)
	}
	past := s.collectorSays(0, "agents", agentID)
	if n := strings.Count(past, "Z rolled back"); n < 2 {
		t.Errorf("want two clones that forked, the store knows of %d:\n%s", n, past)
	}
}

// Rule 3: a store that was set back, seen from both sides, accepted by an operator
// while the collector runs, and accepted for good.
func TestAStoreThatIsBehindIsExplainedAndAccepted(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	backup := s.collectorDir + "-backup"
	s.startCollector()
	s.startAgent()
	s.sendSome(50)
	s.drain()
	s.stopCollector()
	copyDir(t, backup, s.collectorDir)
	s.startCollector()
	s.sendBulk()
	s.drain()
	s.sendSome(10)
	s.drain()
	s.stopCollector()
	copyDir(t, s.collectorDir, backup)
	s.startCollector()
	s.sendSome(5)
	s.drain()
	missing := s.judge().Missing
	s.has("audit", s.collectorSays(1, "audit"), "lost-at-store", "LOST-AT-STORE: agent pump-7", "store is behind this agent", "collector audit close")
	s.has("collector agents", s.collectorSays(0, "agents"), "store behind")
	s.has("the collector's log", s.collector.said.tail(), "incident=store-behind")

	s.has("audit close without --yes", s.collectorSays(0, "audit", "close", agentID, "--reason", "the backup of Monday"), fmt.Sprintf("these %d numbers would be accepted", missing))
	s.collectorSays(1, "audit")
	s.has("audit close", s.collectorSays(0, "audit", "close", agentID, "--reason", "the backup of Monday", "--yes"), fmt.Sprintf("accepted %d numbers", missing))
	s.has("audit", s.collectorSays(0, "audit"), "lost-at-store (closed)", "CLOSED: agent pump-7", "the backup of Monday")
	s.collector.kill()
	s.startCollector()
	s.sendSome(5)
	s.drain()
	s.has("audit after a kill", s.collectorSays(0, "audit"), "CLOSED: agent pump-7")
}

var replacesID = regexp.MustCompile(`--replaces ([0-9a-f]{32})`)

// Rule 4: the address leads to another store. Nothing is sent to it; the agent says
// what to start it with, and that clears it.
func TestADifferentStoreIsExplainedAndCleared(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startCollector()
	s.startAgent()
	s.sendSome(30)
	s.drain()
	s.stopCollector()
	old := s.collectorDir
	s.collectorDir += "-new"
	s.startCollector()
	s.sendSome(20)
	s.eventually("the agent sees that the store is another one", func() bool {
		st, err := s.liveStatus()
		return err == nil && st.Link.State == "different-store"
	})
	m := replacesID.FindStringSubmatch(s.agentSays())
	if m == nil {
		t.Fatalf("agent status does not say what to do:\n%s", s.agentSays())
	}
	if out := s.collectorSays(0, "export", "--format", "jsonl"); out != "" {
		t.Errorf("the new store was sent %s", out)
	}
	s.stopCollector()
	s.collectorArgs = append(s.collectorArgs, "--replaces", m[1])
	s.startCollector()
	s.stopAgent() // which would try again in a minute or more
	s.startAgent()
	s.drain()
	s.has("audit", s.collectorSays(0, "audit"), "stored-in "+m[1], "came from another store")
	s.has("collector agents pump-7", s.collectorSays(0, "agents", agentID), "came from another store", "numbers 1-30", m[1])
	v := s.judge()
	if v.Missing != 30 || v.Doubled+v.Misplaced > 0 {
		t.Errorf("want the 30 of the old store missing in the new one, and no other fault: %v", &v)
	}
	s.collectorDir = old
	if out := s.collectorSays(0, "export", "--format", "jsonl"); strings.Count(out, "\n") != 30 {
		t.Errorf("the old store holds %d messages", strings.Count(out, "\n"))
	}
}

// Rule 11: a folder is destroyed with what it had announced. The audit says so until
// an operator accepts it.
func TestALostFolderIsUnexplainedUntilItIsAccepted(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startCollector()
	s.startAgent()
	s.sendSome(30)
	s.drain()
	s.link.Rate(faultnet.Up, 64<<10) // bytes a second: the agent tells at once what it has, and sends for long
	for i := range 40 {
		if err := s.send("bulk", fmt.Appendf(nil, "bulk %d %s", i, strings.Repeat("x", 20000))); err != nil {
			t.Fatal(err)
		}
	}
	past := func() string { return s.collectorSays(0, "agents", agentID) }
	s.eventually("the agent has told of all it has", func() bool { return regexp.MustCompile(`\b70\b`).MatchString(past()) })
	s.agent.kill()
	s.link.Heal()
	if err := os.RemoveAll(s.agentDir); err != nil {
		t.Fatal(err)
	}
	s.startAgent()
	s.sendSome(5)
	s.drain()
	s.has("collector agents", s.collectorSays(0, "agents"), "new folder")
	s.has("collector agents pump-7", past(), "began anew with an empty folder", "next, new folder:")
	s.has("audit", s.collectorSays(1, "audit"), "UNEXPLAINED: agent pump-7", "collector audit close")
	s.stopCollector() // on the folder of a stopped one
	s.collectorSays(0, "audit", "close", agentID+"/default", "--reason", "the disk burned", "--yes")
	s.has("audit", s.collectorSays(0, "audit"), "unexplained (closed)", "the disk burned")
	if _, err := os.Stat(filepath.Join(s.collectorDir, "control")); err == nil {
		t.Error("a socket is left")
	}
}
