package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// report is what a doctor says.
type report struct {
	Status string `json:"status"`
	Checks []struct {
		Check, About, Status, Text, Next string
	} `json:"checks"`
}

// doctor runs the doctor of a program, with its service's configuration.
func (m *machine) doctor(name string, args ...string) report {
	m.t.Helper()
	out, err := m.try("fieldpost-"+name, append([]string{"doctor", "--json"}, args...)...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	var r report
	if err := json.NewDecoder(strings.NewReader(out[max(0, strings.Index(out, "{")):])).Decode(&r); err != nil {
		m.t.Fatalf("%v:\n%s", err, out)
	}
	return r
}

// says reports whether a line of a check has a status and says something.
func (r *report) says(check, status, part string) error {
	var have []string
	for _, c := range r.Checks {
		if c.Check != check {
			continue
		}
		text := c.About + ": " + c.Text + " -> " + c.Next
		if c.Status == status && strings.Contains(text, part) {
			return nil
		}
		have = append(have, c.Status+" "+text)
	}
	return fmt.Errorf("%s: want %s %q, have %q", check, status, part, have)
}

// TestDoctors lets the doctors look at services that run, hang, are stopped, end by
// themselves and are not installed.
func TestDoctors(t *testing.T) {
	m := boot(t)
	want := func(r report, check, status, part string) {
		t.Helper()
		if err := r.says(check, status, part); err != nil {
			t.Error(err)
		}
	}
	want(m.doctor("agent", "--dir", "/var/lib/fieldpost/agent"), "service", "fail", "is not installed")

	m.run("fieldpost-collector", "service", "install")
	m.run("fieldpost-collector", "service", "start")
	line := m.run("fieldpost-collector", "token", "create", "--dir", "/var/lib/fieldpost/collector", "--id", "pump-7", "--bare")
	token := line[strings.Index(line, "fpt_"):]
	m.run("fieldpost-agent", "service", "install", "--id", "pump-7", "--collector", "127.0.0.1:4717")
	m.run("fieldpost-agent", "enroll", "--dir", "/var/lib/fieldpost/agent", "--id", "pump-7", "--collector", "127.0.0.1:4717", "--token", strings.Fields(token)[0])
	m.run("fieldpost-agent", "service", "start")
	var r report
	m.until("the doctor to see a link", 20*time.Second, func() bool {
		r = m.doctor("agent")
		return r.says("link", "ok", "connected") == nil
	})
	for _, check := range []string{"configuration", "folder", "permissions", "identity", "port", "tls", "admission", "daemon", "versions", "memory", "queue"} {
		want(r, check, "ok", "")
	}
	want(r, "service", "ok", "runs since")
	want(r, "service", "ok", "it starts with the machine")
	want(r, "daemon", "ok", "of fieldpost")
	want(r, "descriptors", "ok", "8192 may be")
	c := m.doctor("collector")
	for _, check := range []string{"service", "listen", "certificate", "journal", "agents", "permissions"} {
		want(c, check, "ok", "")
	}

	// As the account of the service, and as somebody else.
	out, _ := m.try("setpriv", "--reuid=fieldpost", "--regid=fieldpost", "--clear-groups", "fieldpost-agent", "doctor", "--config", "/etc/fieldpost/agent.yaml")
	if strings.Contains(out, "  fail  ") || !strings.Contains(out, "connected to") {
		t.Errorf("as the service's account:\n%s", out)
	}
	out, err := m.try("setpriv", "--reuid=nobody", "--clear-groups", "fieldpost-agent", "doctor", "--dir", "/var/lib/fieldpost/agent")
	if err == nil || !strings.Contains(out, "may not look") || !strings.Contains(out, "as root") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}

	// The bundle has the service's log, and nobody's secrets.
	m.run("sh", "-c", "fieldpost-agent doctor --bundle /root/agent.tar.gz; test $? -le 1")
	all := m.run("tar", "-xzOf", "/root/agent.tar.gz")
	for _, part := range []string{"the agent is open", "id: pump-7", `"kernel"`} {
		if !strings.Contains(all, part) {
			t.Errorf("the bundle has no %q", part)
		}
	}
	if strings.Contains(all, strings.Fields(token)[0]) || strings.Contains(all, "PRIVATE KEY") {
		t.Error("the bundle has a secret")
	}
	if mode := m.run("stat", "-c", "%a", "/root/agent.tar.gz"); mode != "600" {
		t.Errorf("the bundle's mode is %s", mode)
	}

	m.run("chown", "root", "/var/lib/fieldpost/agent/agent.json")
	want(m.doctor("agent"), "permissions", "fail", "agent.json")
	m.run("chown", "fieldpost", "/var/lib/fieldpost/agent/agent.json")
	m.run("systemctl", "disable", "fieldpost-agent")
	want(m.doctor("agent"), "service", "warn", "does not start with the machine")

	m.run("systemctl", "kill", "-s", "STOP", "fieldpost-collector")
	want(m.doctor("collector"), "daemon", "fail", "")
	want(m.doctor("agent"), "tls", "fail", "gets no answer")
	m.run("systemctl", "kill", "-s", "CONT", "fieldpost-collector")

	m.run("systemctl", "stop", "fieldpost-agent")
	r = m.doctor("agent")
	want(r, "service", "fail", "is stopped")
	want(r, "daemon", "fail", "no agent runs")
	m.run("sh", "-c", "echo 'nonsense: 1' >> /etc/fieldpost/agent.yaml")
	m.try("systemctl", "start", "fieldpost-agent")
	m.until("the service to give up", 10*time.Second, func() bool { return m.show("fieldpost-agent", "ActiveState") == "failed" })
	r = m.doctor("agent")
	want(r, "service", "fail", "exit code 78")
	want(r, "configuration", "fail", "nonsense is wrong")
	want(r, "queue", "ok", "lane default")
}
