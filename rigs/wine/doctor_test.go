package wine

import (
	"strings"
	"testing"
	"time"
)

// TestDoctors lets the doctors look at services that run and that are stopped, by
// their services' configuration.
func TestDoctors(t *testing.T) {
	m := boot(t)
	m.fresh()
	address := freeAddress(t)
	m.collector("service", "install", "--listen", address, "--http", "off")
	t.Cleanup(func() { m.try(programs+`\collector.exe`, "service", "uninstall", "--purge") })
	m.collector("service", "start")
	m.agent("service", "install", "--id", "pump-7", "--collector", address)
	t.Cleanup(func() { m.try(programs+`\agent.exe`, "service", "uninstall", "--purge") })
	var token string
	m.until("the collector to give a token", 20*time.Second, func() bool {
		out, err := m.try(programs+`\collector.exe`, "token", "create", "--dir", storeData, "--id", "pump-7", "--bare")
		token = strings.TrimSpace(out)
		return err == nil
	})
	m.agent("enroll", "--config", agentYAML, "--collector", address, "--token", token)
	m.agent("service", "start")
	m.answers(agentData)

	// says reports whether a doctor has a line of a check with a status that says something.
	says := func(out, status, check, part string) bool {
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) > 2 && f[0] == status && f[1] == check && strings.Contains(line, part) {
				return true
			}
		}
		return false
	}
	var out string
	m.until("the doctor to see a link", 40*time.Second, func() bool {
		out, _ = m.try(programs+`\agent.exe`, "doctor", "--config", agentYAML)
		return says(out, "ok", "link", "connected to")
	})
	for check, part := range map[string]string{"configuration": "is good", "folder": "can be read", "disk-space": "free", "file-system": "writable", "identity": "agent pump-7", "port": "open", "tls": "TLS 1.3",
		"admission": "takes agent pump-7", "certificate": "renewed by itself", "service": "runs", "daemon": "runs as process", "queue": "lane default"} {
		if !says(out, "ok", check, part) {
			t.Errorf("%s does not say %q:\n%s", check, part, out)
		}
	}
	if strings.Contains(out, "  fail  ") {
		t.Errorf("something fails:\n%s", out)
	}
	out, _ = m.try(programs+`\collector.exe`, "doctor", "--dir", storeData, "--listen", address, "--http", "off")
	for check, part := range map[string]string{"listen": "agents are taken on", "certificate": "renewed by itself", "journal": "all read", "agents": "1 online"} {
		if !says(out, "ok", check, part) {
			t.Errorf("%s does not say %q:\n%s", check, part, out)
		}
	}
	m.agent("service", "stop")
	out, err := m.try(programs+`\agent.exe`, "doctor", "--config", agentYAML, "--bundle", `C:\agent.tar.gz`)
	if err == nil || !says(out, "fail", "service", "is stopped") || !says(out, "fail", "daemon", "no agent runs") || !strings.Contains(out, "status.json") {
		t.Errorf("stopped: %v\n%s", err, out)
	}
}
