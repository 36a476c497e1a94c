//go:build unix

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Rule 3, with a copy that collector backup took while the collector ran: it starts
// as the same store, agents send again what they still have, and the rest is
// declared, which the audit does not pass over.
func TestCollectorRestoredFromABackupOfARunningOne(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startCollector()
	s.startAgent()
	s.sendSome(50)
	s.drain()
	backup := s.collectorDir + "-backup"
	stop := s.produce(2, 0)
	out, code, err := output(s.env, s.b.collector, "backup", "--dir", s.collectorDir, backup)
	stop()
	if code != 0 || !strings.Contains(string(out), "all is whole") {
		t.Fatalf("backup: exit code %d, %v\n%s", code, err, out)
	}
	if out, code, err := output(s.env, s.b.collector, "verify", "--dir", s.collectorDir); code != 0 {
		t.Errorf("verify beside a collector: exit code %d, %v\n%s", code, err, out)
	}
	if out, code, err := output(s.env, s.b.collector, "audit", "--dir", backup); code != 0 {
		t.Errorf("audit of the copy: exit code %d, %v\n%s", code, err, out)
	}
	s.sendBulk()
	s.drain()
	s.sendSome(10)
	s.drain()
	s.stopCollector()
	if err := os.Rename(backup, s.collectorDir+"-now"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.collectorDir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.collectorDir+"-now", s.collectorDir); err != nil {
		t.Fatal(err)
	}
	s.startCollector()
	s.sendSome(20)
	s.drain()

	v := s.judge()
	if v.Doubled+v.Misplaced+v.Foreign > 0 || v.Missing == 0 {
		t.Errorf("want some messages missing that the copy did not have, and no other fault: %v", &v)
	}
	code, said := s.audit()
	if code != 1 || !strings.Contains(said, "lost-at-store") || !strings.Contains(said, fmt.Sprint(v.Missing)) {
		t.Errorf("audit: exit code %d; want 1, and the %d messages named as lost-at-store:\n%s", code, v.Missing, said)
	}
	t.Logf("%d messages lost at the store and declared", v.Missing)
}
