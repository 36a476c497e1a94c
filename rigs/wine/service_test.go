package wine

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
)

// bodyOf returns the body of an exported message.
func bodyOf(t *testing.T, line string) string {
	t.Helper()
	var m struct{ Body string }
	must(t, json.Unmarshal([]byte(line), &m))
	return m.Body
}

// send sends messages with these numbers through the agent that has dir.
func (m *machine) send(dir string, from, to int) {
	m.t.Helper()
	for i := from; i <= to; i++ {
		m.agent("send", "--dir", dir, "--timeout", "20s", fmt.Sprint("m", i))
	}
}

// inOrder is an error unless the bodies are m1 to mN.
func (m *machine) inOrder(bodies []string) {
	m.t.Helper()
	for i, b := range bodies {
		if b != fmt.Sprint("m", i+1) {
			m.t.Fatalf("message %d is %q; all: %q", i+1, b, bodies)
		}
	}
}

// freeAddress returns an address of the loopback that nobody has.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestServices is the life of an agent and a collector as services of Windows.
func TestServices(t *testing.T) {
	m := boot(t)
	m.fresh()
	address := freeAddress(t)
	m.collector("service", "install", "--listen", address, "--http", "off")
	t.Cleanup(func() { m.try(programs+`\collector.exe`, "service", "uninstall") })
	m.collector("service", "start")

	line, err := faultnet.NewProxy(address, 1)
	must(t, err)
	defer line.Close()
	install := []string{"service", "install", "--id", "pump-7", "--collector", line.Addr()}
	if dry := m.agent(append(install, "--dry-run")...); !strings.Contains(dry, "would register") {
		t.Fatalf("dry: %s", dry)
	}
	if _, err := os.Stat(m.unix(agentYAML)); err == nil {
		t.Fatal("a dry run has made the configuration")
	}
	t.Log(m.agent(install...))
	t.Cleanup(func() { m.try(programs+`\agent.exe`, "service", "uninstall") })
	m.agent(install...) // twice is harmless
	image := m.run("reg", "query", `HKLM\SYSTEM\CurrentControlSet\Services\fieldpost-agent`)
	// "reg" says the other letters in a code page that has not all of them.
	if !strings.Contains(image, `"C:\Program Files\Field Post `) || !strings.Contains(image, `\agent.exe" service host run --stay --config `+agentYAML) {
		t.Errorf("the service manager has\n%s", image)
	}
	if !strings.Contains(image, `NT SERVICE\fieldpost-agent`) {
		t.Errorf("it does not run under its virtual account:\n%s", image)
	}
	if out, err := m.try("reg", "query", `HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\fieldpost-agent`); err != nil {
		t.Errorf("no source of events: %v\n%s", err, out)
	}

	token := m.collector("token", "create", "--dir", storeData, "--id", "pump-7", "--bare")
	m.agent("enroll", "--config", agentYAML, "--collector", line.Addr(), "--token", token)
	m.agent("service", "start")
	m.answers(agentData)
	m.send(agentData, 1, 3)
	m.stored(storeData, 3)

	t.Log("the link is cut, in the middle of a frame, then for good")
	line.CutAfter(faultnet.Up, 300)
	m.send(agentData, 4, 5)
	m.stored(storeData, 5)
	line.Refuse(true)
	line.Cut()
	m.send(agentData, 6, 8)

	t.Log("the agent is killed with a backlog, and started again")
	m.kill("agent.exe", "host") // wine neither starts it again nor shows that it is gone
	m.agent("service", "start")
	m.answers(agentData)
	if out := m.agent("status", "--dir", agentData, "--json"); !strings.Contains(out, `"backlog": 3`) && !strings.Contains(out, `"backlog":3`) {
		t.Errorf("the backlog is not 3: %.800s", out)
	}

	t.Log("the collector is killed, and the link comes back")
	m.kill("collector.exe", "host")
	line.Refuse(false)
	m.send(agentData, 9, 9)
	m.collector("service", "start")
	m.inOrder(m.stored(storeData, 9))

	t.Log("stopped in order, and the folder is in order")
	m.agent("service", "stop")
	if out, err := m.try(programs+`\agent.exe`, "service", "status"); err == nil || !strings.Contains(out, "is stopped") {
		t.Errorf("stopped: %v, %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(m.unix(agentData), "control")); err == nil {
		t.Error("the name of its pipe is left")
	}
	m.send(agentData, 10, 10) // into the folder, whose agent does not run

	m.upgrade()
	m.send(agentData, 11, 11)
	m.inOrder(m.stored(storeData, 11))

	t.Log("uninstalled; the data stays, and an agent that is installed again goes on")
	m.agent("service", "uninstall")
	if out, err := m.try("reg", "query", `HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\fieldpost-agent`); err == nil {
		t.Errorf("a source of events is left:\n%s", out)
	}
	if out, err := m.try(programs+`\agent.exe`, "service", "status"); err == nil || !strings.Contains(out, "not installed") {
		t.Errorf("uninstalled: %v, %s", err, out)
	}
	m.agent("service", "install")
	m.agent("service", "start")
	m.answers(agentData)
	m.send(agentData, 12, 12)
	m.inOrder(m.stored(storeData, 12))
	for _, name := range []string{"agent", "collector"} {
		m.run(programs+`\`+name+".exe", "service", "uninstall")
	}
}

// upgrade replaces the program of the agent while it runs as a service and, from the
// same file, on a console.
func (m *machine) upgrade() {
	m.t.Helper()
	m.t.Log("upgraded while it runs")
	m.agent("service", "start")
	m.answers(agentData)
	must(m.t, build(m.unix(`C:\neu ж`), "v2", "./cmd/agent"))
	console := m.console(programs+`\agent.exe`, "run", "--stay", "--dir", `C:\other`, "--id", "other", "--collector", "127.0.0.1:9", "--insecure-plaintext")
	defer console.stop()
	m.until("the other agent to be up", 20*time.Second, func() bool {
		_, err := os.Stat(filepath.Join(m.unix(`C:\other`), "control"))
		return err == nil
	})
	if before := m.agent("version"); !strings.Contains(before, "v1") {
		m.t.Fatalf("before: %s", before)
	}
	m.t.Log(m.run(`C:\neu ж\agent.exe`, "service", "upgrade"))
	if after := m.agent("version"); !strings.Contains(after, "v2") {
		m.t.Errorf("after: %s", after)
	}
	if out := m.agent("service", "status"); !strings.Contains(out, "is running") {
		m.t.Errorf("after: %s", out)
	}
	m.answers(agentData)
	console.stop()
	must(m.t, build(m.unix(`C:\neu ж`), "v3", "./cmd/agent"))
	m.run(`C:\neu ж\agent.exe`, "service", "upgrade")
	left, err := os.ReadDir(m.unix(programs))
	must(m.t, err)
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"agent.exe", "collector.exe"}) {
		m.t.Errorf("left beside the programs: %q", names)
	}
	m.answers(agentData)
}
