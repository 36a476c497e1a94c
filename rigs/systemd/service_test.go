package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	agentUnit = "fieldpost-agent"
	agentData = "/var/lib/fieldpost/agent"
	storeData = "/var/lib/fieldpost/collector"
)

// stored waits until the collector has n messages and nothing unexplained.
func (m *machine) stored(n int) {
	m.t.Helper()
	out := ""
	defer func() {
		if m.t.Failed() {
			m.t.Log(out)
		}
	}()
	m.until(fmt.Sprint(n, " messages to be stored"), 20*time.Second, func() bool {
		exported, err := m.try("fieldpost-collector", "export", "--dir", storeData)
		out = exported
		return err == nil && strings.Count(exported, "\n")+1 == n
	})
	m.run("fieldpost-collector", "audit", "--dir", storeData)
}

func (m *machine) send(from, to int) {
	m.t.Helper()
	for i := from; i <= to; i++ {
		m.run("fieldpost-agent", "send", "--dir", agentData, fmt.Sprint("m", i))
	}
}

// kill kills the agent; it must be back within two seconds.
func (m *machine) kill(t *testing.T) {
	t.Helper()
	before := m.show(agentUnit, "MainPID")
	m.run("systemctl", "kill", "-s", "KILL", agentUnit)
	took := m.until("the service to be back", 10*time.Second, func() bool {
		now := m.show(agentUnit, "MainPID")
		return now != before && now != "0" && m.show(agentUnit, "ActiveState") == "active"
	})
	if took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestServices is the life of an agent and a collector as services.
func TestServices(t *testing.T) {
	m := boot(t)
	m.run("fieldpost-collector", "service", "install")
	m.run("fieldpost-collector", "service", "start")
	dry := m.run("fieldpost-agent", "service", "install", "--collector", "127.0.0.1:4717", "--id", "pump-7", "--dry-run")
	if _, err := os.Stat(filepath.Join(m.root, agentData)); err == nil || !strings.Contains(dry, "would ") {
		t.Fatalf("a dry run has made something:\n%s", dry)
	}
	m.run("fieldpost-agent", "service", "install", "--collector", "127.0.0.1:4717", "--id", "pump-7")
	again := m.run("fieldpost-agent", "service", "install", "--collector", "127.0.0.1:4717")
	if strings.Count(again, "done already") != 6 {
		t.Errorf("installed twice:\n%s", again)
	}
	token := m.run("fieldpost-collector", "token", "create", "--dir", storeData, "--id", "pump-7", "--bare")
	m.run("fieldpost-agent", "enroll", "--config", "/etc/fieldpost/agent.yaml", "--collector", "127.0.0.1:4717", "--token", token)
	m.run("fieldpost-agent", "service", "start")
	m.send(1, 5)
	m.stored(5)

	t.Run("it runs under its own account, and its data is its own", func(t *testing.T) {
		if user := m.run("ps", "-o", "user=", "-p", m.show(agentUnit, "MainPID")); user != "fieldpo+" && user != "fieldpost" {
			t.Errorf("user %s", user)
		}
		if mode := m.run("stat", "-c", "%U %a", agentData); mode != "fieldpost 700" {
			t.Errorf("the folder is %s", mode)
		}
	})
	t.Run("what root does to its folder while it is stopped is its own", func(t *testing.T) {
		m.run("fieldpost-agent", "service", "stop")
		m.run("fieldpost-agent", "send", "--dir", agentData, "m6")
		m.run("fieldpost-agent", "queue", "purge", "--dir", agentData, "--lane", "default", "--yes")
		m.run("fieldpost-agent", "send", "--dir", agentData, "m6")
		if out := m.run("find", agentData, "!", "-user", "fieldpost"); out != "" {
			t.Errorf("not the service's:\n%s", out)
		}
		m.run("fieldpost-agent", "service", "start")
		m.stored(6)
	})
	t.Run("levels are the journal's", func(t *testing.T) {
		if out := m.run("journalctl", "-u", agentUnit, "-p", "info", "-o", "cat", "--no-pager"); !strings.Contains(out, `msg="the agent is open"`) || strings.Contains(out, "<6>") {
			t.Errorf("the journal has\n%s", out)
		}
		if out := m.run("journalctl", "-u", agentUnit, "-p", "err", "-o", "cat", "--no-pager"); strings.Contains(out, "msg=") {
			t.Errorf("errors:\n%s", out)
		}
	})
	t.Run("killed, it is back within two seconds", func(t *testing.T) {
		m.kill(t)
		m.send(7, 10)
		m.stored(10)
	})
	t.Run("a wrong configuration is not tried for ever", func(t *testing.T) {
		config := filepath.Join(m.root, "etc/fieldpost/agent.yaml")
		good, err := os.ReadFile(config)
		must(t, err)
		must(t, os.WriteFile(config, []byte("colectors: []\n"), 0o640))
		m.try("systemctl", "restart", agentUnit)
		m.until("the service to fail", 20*time.Second, func() bool { return m.show(agentUnit, "ActiveState") == "failed" })
		if out := m.run("journalctl", "-u", agentUnit, "-n", "20", "-o", "cat", "--no-pager"); !strings.Contains(out, "colectors") {
			t.Errorf("the journal does not name the mistake:\n%s", out)
		}
		must(t, os.WriteFile(config, good, 0o640))
		m.run("fieldpost-agent", "service", "start")
	})
	t.Run("uninstalled, its data stays; purged, it is gone", func(t *testing.T) {
		m.run("fieldpost-agent", "service", "uninstall")
		if out, err := m.try("fieldpost-agent", "service", "status"); err == nil || !strings.Contains(out, "not installed") {
			t.Errorf("status: %v\n%s", err, out)
		}
		m.run("fieldpost-agent", "service", "install")
		m.run("fieldpost-agent", "service", "start")
		m.send(11, 12)
		m.stored(12) // it has gone on in its folder and with its configuration
		m.run("fieldpost-agent", "service", "uninstall", "--purge")
		for _, path := range []string{agentData, "/etc/fieldpost/agent.yaml", "/etc/systemd/system/fieldpost-agent.service"} {
			if _, err := os.Lstat(filepath.Join(m.root, path)); err == nil {
				t.Errorf("%s is still there", path)
			}
		}
		m.run("fieldpost-agent", "service", "uninstall", "--purge") // twice is harmless
	})
}
