//go:build unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (s *site) stopAgent() {
	s.t.Helper()
	s.agent.signal(syscall.SIGTERM)
	s.agent.exit(s.t, 10*time.Second)
}

func (s *site) stopCollector() {
	s.t.Helper()
	s.collector.signal(syscall.SIGTERM)
	s.collector.exit(s.t, 10*time.Second)
}

// restoreAgent puts an older copy in the place of the agent's folder, after what
// only the newer one held had been delivered. New messages then get numbers that
// the store has seen with other bytes.
func restoreAgent(s *site) {
	s.t.Helper()
	backup := s.agentDir + "-backup"
	s.startCollector()
	s.startAgent()
	s.sendSome(50)
	s.drain()
	s.stopAgent()
	copyDir(s.t, backup, s.agentDir)
	s.startAgent()
	s.sendSome(70)
	s.drain()
	s.stopAgent()
	copyDir(s.t, s.agentDir, backup)
	s.startAgent()
	s.sendSome(30)
	s.drain()
}

func TestAgentFolderRestoredFromAnOlderCopy(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	restoreAgent(s)
	s.mustHold()
	if !strings.Contains(s.agent.said.tail(), "rolled back") {
		t.Errorf("the agent does not say that its folder was rolled back:\n%s", s.agent.said.tail())
	}
}

// The same with a copy that has a backlog of its own, taken after a kill.
func TestAgentFolderRestoredWithABacklog(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startAgent()
	s.sendSome(60)
	s.agent.kill()
	backup := s.agentDir + "-backup"
	copyDir(t, backup, s.agentDir)
	s.startCollector()
	s.startAgent()
	s.sendSome(60)
	s.drain()
	s.agent.kill()
	copyDir(t, s.agentDir, backup)
	s.startAgent()
	s.sendSome(60)
	s.drain()
	s.mustHold()
}

// A collector's machine is lost: what starts from the backup on another one is the
// same to its agents, without a new enrolment.
func TestCollectorRestoredElsewhereIsKnownToItsAgents(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.secured(0)
	s.startCollector()
	if code, said := s.enroll(s.agentDir, agentID, s.link.Addr(), s.token()); code != 0 {
		t.Fatal(said)
	}
	s.startAgent()
	s.sendSome(30)
	s.drain()
	backup := s.collectorDir + "-backup"
	if _, code, err := output(nil, s.b.collector, "backup", "--quiet", "--dir", s.collectorDir, backup); code != 0 {
		t.Fatal(err)
	}
	s.collector.kill()
	if err := os.RemoveAll(s.collectorDir); err != nil {
		t.Fatal(err)
	}
	s.sendSome(20)
	for name, secret := range map[string]bool{"ca-key.pem": true, "ca.pem": true, "tokens.json": false} {
		info, err := os.Stat(filepath.Join(backup, "tls", name))
		if (err == nil) != secret || err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	s.collectorDir = backup
	s.startCollector()
	s.sendSome(20)
	s.drain()
	s.stop()
	s.mustHold()
}

// Rule 3: the store's folder is older than the agent's acks. The agent sends
// what it still has; the rest is declared, and the audit does not pass it over.
func TestCollectorFolderRestoredFromABackup(t *testing.T) {
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
	s.sendSome(20)
	s.drain()

	v := s.judge()
	if v.Doubled+v.Misplaced+v.Foreign > 0 || v.Missing == 0 || v.Missing > 400 {
		t.Errorf("want some of the 400 messages missing, and no other fault: %v", &v)
	}
	code, said := s.audit()
	if code != 1 || !strings.Contains(said, "lost-at-store") || !strings.Contains(said, fmt.Sprint(v.Missing)) {
		t.Errorf("audit: exit code %d; want 1, and the %d messages named as lost-at-store:\n%s", code, v.Missing, said)
	}
	t.Logf("%d messages lost at the store and declared", v.Missing)
}
