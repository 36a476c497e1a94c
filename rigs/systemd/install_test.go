package systemd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// script runs install.sh in the machine, as it lies beside the packages.
func (m *machine) script(args ...string) (out string, code int) {
	m.t.Helper()
	out, err := m.try("/srv/"+current+"/install.sh", args...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, exit.ExitCode()
	}
	must(m.t, err)
	return out, 0
}

// token writes a token for an agent to a file of the machine.
func (m *machine) token(id string) string {
	m.t.Helper()
	m.run("sh", "-c", "umask 077; fieldpost-collector token create --config "+storeConfig+" --id "+id+" --bare > /root/token")
	return "/root/token"
}

func TestInstallScript(t *testing.T) {
	m := bare(t)
	m.install(deb, "collector", current)
	here := filepath.Join(m.root, "srv", current)

	t.Run("what is wrong is said", func(t *testing.T) {
		for _, c := range []struct {
			args string
			code int
			want string
		}{
			{"", 2, "no collector"},
			{"--colector x", 2, "--colector is not known"},
			{"--collector", 2, "needs a value"},
			{"--collector=x", 2, "two words"},
			{"--collector 127.0.0.1:4717 --wait soon", 2, "number of seconds"},
			{"--collector 127.0.0.1:4717 --package /srv/none.deb", 1, "is not there"},
			{"--collector 127.0.0.1:4717", 2, "no token"},
			{"--collector 127.0.0.1:4717 --token nonsense", 1, "not enrolled"},
			{"--collector 127.0.0.1:1 --token-file " + m.token("pump-7"), 69, "not enrolled"},
		} {
			if out, code := m.script(strings.Fields(c.args)...); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("%q: exit code %d\n%s", c.args, code, out)
			}
		}
	})
	t.Run("one line sets the machine up", func(t *testing.T) {
		out, code := m.script("--collector", "127.0.0.1:4717", "--id", "pump-7", "--token-file", m.token("pump-7"))
		if code != 0 || !strings.Contains(out, "the sum of fieldpost-agent_1.0.0_amd64.deb is right") || !strings.Contains(out, "done: the collector has answered") {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		m.send(1, 3)
		m.stored(3)
	})
	t.Run("run again, it keeps what is there and needs no token", func(t *testing.T) {
		before := m.show(agentUnit, "MainPID")
		out, code := m.script("--collector", "127.0.0.1:4717", "--id", "pump-7")
		if code != 0 || !strings.Contains(out, "is installed already") || !strings.Contains(out, "enrolled already, as pump-7 at 127.0.0.1:4717") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		if now := m.show(agentUnit, "MainPID"); now != before {
			t.Error("it was restarted")
		}
		if out, code := m.script("--collector", "127.0.0.1:4717", "--id", "pump-8"); code != 1 || !strings.Contains(out, "is the agent pump-7 for good") {
			t.Errorf("another id: exit code %d\n%s", code, out)
		}
	})
	t.Run("a stopped service is started; a collector that does not answer is said", func(t *testing.T) {
		m.run("systemctl", "stop", "fieldpost-collector", agentUnit)
		out, code := m.script("--collector", "127.0.0.1:4717", "--wait", "2")
		if code != 69 || !strings.Contains(out, "connection-refused") || !strings.Contains(out, "goes on trying") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		m.run("systemctl", "start", "fieldpost-collector")
		if out, code := m.script("--collector", "127.0.0.1:4717"); code != 0 {
			t.Errorf("exit code %d\n%s", code, out)
		}
	})
	t.Run("a damaged package is refused", func(t *testing.T) {
		m.run("dpkg", "-P", "fieldpost-agent")
		file := filepath.Join(here, "fieldpost-agent_1.0.0_amd64.deb")
		good, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(file, append(good, 0), 0o644))
		if out, code := m.script("--collector", "127.0.0.1:4717"); code != 1 || !strings.Contains(out, "is not what") {
			t.Errorf("exit code %d\n%s", code, out)
		}
		must(t, os.WriteFile(file, good, 0o644))
	})
	t.Run("from the archive, without a package", func(t *testing.T) {
		archive := "/srv/" + current + "/fieldpost_1.0.0_linux_amd64.tar.gz"
		token, err := os.ReadFile(filepath.Join(m.root, m.token("pump-9")))
		must(t, err)
		out, err := m.try("env", "FIELDPOST_TOKEN="+strings.TrimSpace(string(token)), "/srv/"+current+"/install.sh",
			"--collector", "127.0.0.1:4717", "--id", "pump-9", "--package", archive)
		if err != nil || !strings.Contains(out, "done: the collector has answered") {
			t.Fatalf("%v\n%s", err, out)
		}
		if out := m.run("systemctl", "show", agentUnit, "-p", "ExecStart", "--value"); !strings.Contains(out, "/usr/local/bin/fieldpost-agent") {
			t.Errorf("the service runs %s", out)
		}
		// Unpacked, as an operator does who has no package for the system.
		m.run("tar", "-xzf", archive, "-C", "/srv")
		out, err = m.try("/srv/fieldpost_1.0.0_linux_amd64/install.sh", "--collector", "127.0.0.1:4717")
		if err != nil || !strings.Contains(out, "is there already") || !strings.Contains(out, "enrolled already") {
			t.Errorf("again: %v\n%s", err, out)
		}
		must(t, os.WriteFile(filepath.Join(m.root, agentData, "agent.json"), []byte(`{"format":9,"agent":"pump-9"}`), 0o600))
		if out, code := m.script("--collector", "127.0.0.1:4717", "--package", archive); code != 1 || !strings.Contains(out, "a later version has written it") {
			t.Errorf("data of a later version: exit code %d\n%s", code, out)
		}
	})
	t.Run("without systemd", func(t *testing.T) {
		m.run("/usr/local/bin/fieldpost-agent", "service", "uninstall", "--purge")
		// With other processes and another /run there is none, for who looks: the programs
		// find the folder of SysV's scripts.
		out := m.run("unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-ec", "mount -t tmpfs tmpfs /run\n"+
			"/srv/"+current+"/install.sh --collector 127.0.0.1:4717 --id pump-10 --token-file "+m.token("pump-10")+"\n"+
			"test -e /etc/init.d/fieldpost-agent\n"+
			"fieldpost-agent service status\n"+
			"dpkg -r fieldpost-agent\n"+
			"test ! -e /etc/init.d/fieldpost-agent")
		if !strings.Contains(out, "done: the collector has answered") || !strings.Contains(out, "running (unix-systemv)") {
			t.Errorf("%s", out)
		}
		if out, err := m.try("fieldpost-collector", "agents", "pump-10", "--dir", storeData); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
