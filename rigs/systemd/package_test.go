package systemd

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	agentConfig = "/etc/fieldpost/agent.yaml"
	storeConfig = "/etc/fieldpost/collector.yaml"

	current = "1.0.0" // what is installed first
	newer   = "1.1.0" // the same, with a higher number
	later   = "2.0.0" // writes formats that the others do not know
)

var packages = flag.String("packages", "", "keep the packages in this `folder`, and take those that are there")

// temporary is the folder that goes when the tests end.
var temporary string

// made builds the packages of all three versions once and returns their folder.
var made = sync.OnceValues(func() (string, error) {
	dir := *packages
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "fieldpost-packages-"); err != nil {
			return "", err
		}
		temporary = dir
	}
	for version, args := range map[string][]string{
		current: {"-formats", "deb,rpm,tar.gz"}, newer: {"-formats", "deb,rpm"}, later: {"-formats", "deb,rpm", "-tags", "fieldpost_laterformat"},
	} {
		out := filepath.Join(dir, version)
		if _, err := os.Stat(filepath.Join(out, "SHA256SUMS")); err == nil {
			continue
		}
		for _, more := range [][]string{append(args, "-arch", "amd64", "-version", version), {"-sums"}} {
			c := exec.Command("go", append([]string{"run", ".", "-out", out}, more...)...)
			c.Dir = "../../install/dist"
			c.Stderr = os.Stderr
			if err := c.Run(); err != nil {
				return dir, err
			}
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if temporary != "" {
		os.RemoveAll(temporary)
	}
	os.Exit(code)
}

// bare starts a machine without our programs, with the packages in /srv/VERSION.
func bare(t *testing.T) *machine {
	t.Helper()
	m := assemble(t)
	dir, err := made()
	if err != nil {
		t.Fatalf("the packages cannot be made: %v", err)
	}
	must(t, os.CopyFS(filepath.Join(m.root, "srv"), os.DirFS(dir)))
	m.start()
	return m
}

// kind is how one kind of package is installed and removed.
type kind struct {
	extension       string
	install, remove []string
}

var (
	deb = kind{"deb", []string{"dpkg", "-i"}, []string{"dpkg", "-r"}}
	// rpm as it is on Debian: it knows none of the machine's packages.
	rpm = kind{"rpm", []string{"rpm", "--force-debian", "--nodeps", "-U", "--oldpackage"}, []string{"rpm", "--force-debian", "-e"}}
)

func (k kind) file(name, version string) string {
	return "/srv/" + version + "/fieldpost-" + name + "_" + version + "_amd64." + k.extension
}

func (m *machine) install(k kind, name, version string) string {
	m.t.Helper()
	return m.run(k.install[0], append(k.install[1:], k.file(name, version))...)
}

// enrol gets the agent a certificate, as an operator would.
func (m *machine) enrol(id string) {
	m.t.Helper()
	token := m.run("fieldpost-collector", "token", "create", "--config", storeConfig, "--id", id, "--bare")
	m.run("fieldpost-agent", "enroll", "--config", agentConfig, "--collector", "127.0.0.1:4717", "--id", id, "--token", token)
	m.run("fieldpost-agent", "status", "--config", agentConfig, "--wait", "20s")
}

// life is what both kinds of packages must go through, up to the removal.
func (m *machine) life(t *testing.T, k kind) {
	m.install(k, "collector", current)
	m.until("the collector to run", 20*time.Second, func() bool { return m.show("fieldpost-collector", "ActiveState") == "active" })
	m.install(k, "agent", current)
	t.Run("installed, it runs and waits for its enrolment", func(t *testing.T) {
		if state := m.show(agentUnit, "ActiveState"); state != "active" {
			t.Errorf("the service is %s", state)
		}
		if out := m.run("systemctl", "is-enabled", agentUnit); out != "enabled" {
			t.Errorf("the service is %s", out)
		}
		if status := m.show(agentUnit, "StatusText"); status != "not enrolled yet" {
			t.Errorf("its status is %q", status)
		}
		for path, want := range map[string]string{agentData: "fieldpost 700", agentConfig: "fieldpost 640", "/var/lib/fieldpost": "root 755"} {
			if mode := m.run("stat", "-c", "%U %a", path); mode != want {
				t.Errorf("%s is %s, not %s", path, mode, want)
			}
		}
	})
	t.Run("the unit is that of service install, and no other", func(t *testing.T) {
		for _, name := range []string{"agent", "collector"} {
			m.run("sh", "-c", "fieldpost-"+name+" service install --print-unit | cmp - /usr/lib/systemd/system/fieldpost-"+name+".service")
			if out := m.run("fieldpost-"+name, "service", "install"); strings.Count(out, "done already") != 6 {
				t.Errorf("service install:\n%s", out)
			}
			if _, err := os.Lstat(filepath.Join(m.root, "etc/systemd/system/fieldpost-"+name+".service")); err == nil {
				t.Error("there is a second unit")
			}
			if out, err := m.try("fieldpost-"+name, "service", "uninstall"); err == nil || !strings.Contains(out, "belongs to the package") {
				t.Errorf("service uninstall: %v\n%s", err, out)
			}
		}
	})
	t.Run("enrolled, it connects by itself and delivers", func(t *testing.T) {
		before := m.show(agentUnit, "MainPID")
		m.enrol("pump-7")
		m.send(1, 5)
		m.stored(5)
		if now := m.show(agentUnit, "MainPID"); now != before {
			t.Errorf("it was restarted, %s is %s", before, now)
		}
	})
	t.Run("upgraded, it is restarted and goes on", func(t *testing.T) {
		config := filepath.Join(m.root, agentConfig)
		f, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString("# ours\n")
		must(t, err)
		must(t, f.Close())
		before := m.show(agentUnit, "MainPID")
		m.install(k, "agent", newer)
		if now := m.show(agentUnit, "MainPID"); now == before {
			t.Error("it was not restarted")
		}
		if out := m.run("fieldpost-agent", "version"); !strings.Contains(out, newer) {
			t.Errorf("version %s", out)
		}
		if b, _ := os.ReadFile(config); !strings.HasSuffix(string(b), "# ours\n") {
			t.Errorf("the configuration was changed to\n%s", b)
		}
		m.run("fieldpost-agent", "status", "--config", agentConfig, "--wait", "20s")
		m.send(6, 7)
		m.stored(7)
	})
	t.Run("a version that reads the data may be put back", func(t *testing.T) {
		m.install(k, "agent", current)
		m.install(k, "agent", newer)
		m.send(8, 8)
		m.stored(8)
	})
	t.Run("one that does not is refused, and the later one goes on", func(t *testing.T) {
		for _, name := range []string{"agent", "collector"} {
			unit := "fieldpost-" + name
			m.install(k, name, later)
			m.until("the later version to run", 20*time.Second, func() bool { return m.show(unit, "SubState") == "running" })
			before := m.show(unit, "MainPID")
			for _, older := range []string{newer, current} {
				out, err := m.try(k.install[0], append(k.install[1:], k.file(name, older))...)
				if err == nil || !strings.Contains(out, "this version") || !strings.Contains(out, "A later version has written it") {
					t.Errorf("%s over %s: %v\n%s", older, later, err, out)
				}
			}
			if out := m.run(unit, "version"); !strings.Contains(out, later) {
				t.Errorf("version %s", out)
			}
			if now := m.show(unit, "MainPID"); now != before || m.show(unit, "ActiveState") != "active" {
				t.Errorf("the later version did not go on: process %s is %s, %s", before, now, m.show(unit, "ActiveState"))
			}
		}
		m.run("fieldpost-agent", "status", "--config", agentConfig, "--wait", "30s")
		m.send(9, 10)
		m.stored(10)
	})
}

func TestDebianPackages(t *testing.T) {
	m := bare(t)
	m.life(t, deb)
	t.Run("killed, it is back within two seconds", func(t *testing.T) {
		m.kill(t)
		m.send(11, 12)
		m.stored(12)
	})
	t.Run("hung, it is killed by the watchdog and back", func(t *testing.T) {
		restarts := m.show(agentUnit, "NRestarts")
		m.run("systemctl", "kill", "-s", "STOP", agentUnit)
		m.until("the watchdog", 60*time.Second, func() bool {
			return m.show(agentUnit, "NRestarts") != restarts && m.show(agentUnit, "ActiveState") == "active"
		})
		m.send(13, 14)
		m.stored(14)
	})
	t.Run("after a reboot both go on", func(t *testing.T) {
		m.reboot()
		m.until("the agent to be up", 20*time.Second, func() bool { return m.show(agentUnit, "ActiveState") == "active" })
		m.send(15, 16)
		m.stored(16)
	})
	t.Run("idle, it is small", func(t *testing.T) {
		status, err := os.ReadFile(filepath.Join("/proc", m.outside(m.show(agentUnit, "MainPID")), "status"))
		must(t, err)
		resident := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
		if resident == nil {
			t.Fatalf("its status is\n%s", status)
		}
		kib, err := strconv.Atoi(string(resident[1]))
		must(t, err)
		t.Logf("%.1f MiB are resident", float64(kib)/1024)
		if kib > 25<<10 {
			t.Errorf("%d KiB are resident, more than 25 MiB", kib)
		}
	})
	t.Run("reload", func(t *testing.T) {
		config := filepath.Join(m.root, agentConfig)
		good, err := os.ReadFile(config)
		must(t, err)
		m.run("systemctl", "reload", agentUnit)
		must(t, os.WriteFile(config, []byte("colectors: []\n"), 0o640))
		if out, err := m.try("systemctl", "reload", agentUnit); err == nil {
			t.Errorf("a wrong configuration was taken:\n%s", out)
		}
		if state := m.show(agentUnit, "ActiveState"); state != "active" {
			t.Errorf("the service is %s", state)
		}
		must(t, os.WriteFile(config, good, 0o640))
	})
	t.Run("removed, the data stays; installed again, it goes on", func(t *testing.T) {
		m.run("dpkg", "-r", "fieldpost-agent")
		if out, err := m.try("systemctl", "is-active", agentUnit); err == nil {
			t.Errorf("the service is %s", out)
		}
		for _, path := range []string{agentData + "/agent.json", agentConfig} {
			if _, err := os.Stat(filepath.Join(m.root, path)); err != nil {
				t.Error(err)
			}
		}
		if out, err := m.try("dpkg", "-i", deb.file("agent", current)); err == nil || !strings.Contains(out, "later version") {
			t.Errorf("an older one was installed on the data of a later one: %v\n%s", err, out)
		}
		m.install(deb, "agent", later)
		m.run("fieldpost-agent", "status", "--config", agentConfig, "--wait", "20s")
		m.send(17, 18)
		m.stored(18)
	})
	t.Run("purged, it is gone, and the collector's is not", func(t *testing.T) {
		m.run("dpkg", "-P", "fieldpost-agent")
		for _, path := range []string{agentData, agentConfig, "/etc/systemd/system/multi-user.target.wants/fieldpost-agent.service", "/usr/bin/fieldpost-agent"} {
			if _, err := os.Lstat(filepath.Join(m.root, path)); err == nil {
				t.Errorf("%s is still there", path)
			}
		}
		m.stored(18)
		m.run("dpkg", "-P", "fieldpost-collector")
		for _, path := range []string{"/var/lib/fieldpost", "/etc/fieldpost"} {
			if _, err := os.Lstat(filepath.Join(m.root, path)); err == nil {
				t.Errorf("%s is still there", path)
			}
		}
	})
}

func TestRPMPackages(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must install rpm packages: %v", err)
		}
		t.Skipf("there is no rpm here: %v", err)
	}
	m := bare(t)
	m.life(t, rpm)
	t.Run("removed, the data stays; installed again, it goes on", func(t *testing.T) {
		out := m.run(rpm.remove[0], append(rpm.remove[1:], "fieldpost-agent")...)
		if !strings.Contains(out, "stays") {
			t.Errorf("it does not say that the data stays:\n%s", out)
		}
		if out, err := m.try("systemctl", "is-active", agentUnit); err == nil {
			t.Errorf("the service is %s", out)
		}
		if _, err := os.Stat(filepath.Join(m.root, agentData, "agent.json")); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(filepath.Join(m.root, "usr/bin/fieldpost-agent")); err == nil {
			t.Error("the program is still there")
		}
		m.install(rpm, "agent", later)
		m.run("fieldpost-agent", "status", "--config", agentConfig, "--wait", "20s")
		m.send(11, 12)
		m.stored(12)
	})
}
