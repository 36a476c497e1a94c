package systemd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a system with systemd as PID 1.
type machine struct {
	t      *testing.T
	root   string
	leader string // PID of its systemd, as this machine sees it
}

// boot starts a machine that has the programs of this tree. It ends with the test.
func boot(t *testing.T) *machine {
	t.Helper()
	m := assemble(t)
	for _, name := range []string{"agent", "collector"} {
		build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(m.root, "usr/bin/fieldpost-"+name), "./cmd/"+name)
		build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	m.start()
	return m
}

// assemble makes a machine and does not start it.
func assemble(t *testing.T) *machine {
	t.Helper()
	missing := func(why string) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must run services under systemd: %s", why)
		}
		t.Skipf("no systemd can be started here: %s", why)
	}
	if os.Geteuid() != 0 {
		missing("it needs root")
	}
	for _, program := range []string{"systemd-nspawn", "nsenter", "/lib/systemd/systemd"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(err.Error())
		}
	}
	disk := t.TempDir()
	must(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1g"))
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	m := &machine{t: t, root: filepath.Join(disk, "root")}
	for _, dir := range []string{"root", "upper", "work"} {
		must(t, os.Mkdir(filepath.Join(disk, dir), 0o755))
	}
	must(t, syscall.Mount("overlay", m.root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", disk, disk)))
	t.Cleanup(func() { syscall.Unmount(m.root, syscall.MNT_DETACH) })
	os.Remove(filepath.Join(m.root, "usr/sbin/policy-rc.d")) // with which a container forbids packages to start services
	must(t, os.WriteFile(filepath.Join(m.root, "etc/machine-id"), []byte(strings.Repeat("5e", 16)+"\n"), 0o444))
	return m
}

// start boots the machine, or boots it again.
func (m *machine) start() {
	m.t.Helper()
	var log bytes.Buffer
	c := exec.Command("systemd-nspawn", "-D", m.root, "--register=no", "--keep-unit", "--private-network", "--console=pipe", "/lib/systemd/systemd")
	c.Stdout, c.Stderr = &log, &log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(m.t, c.Start())
	ended := make(chan struct{})
	go func() { c.Wait(); close(ended) }()
	m.t.Cleanup(func() {
		if pid, err := strconv.Atoi(m.leader); err == nil {
			syscall.Kill(pid, syscall.SIGKILL) // its PID 1: all of the machine ends with it, and not with systemd-nspawn
		}
		c.Process.Kill()
		<-ended
	})
	m.until("systemd to be up", 60*time.Second, func() bool {
		select {
		case <-ended:
			m.t.Fatalf("systemd-nspawn has ended:\n%s", log.String())
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.Process.Pid, c.Process.Pid))
		if m.leader = strings.TrimSpace(string(children)); m.leader == "" || strings.Contains(m.leader, " ") {
			return false
		}
		out, _ := m.try("systemctl", "is-system-running")
		return strings.Contains(out, "running") || strings.Contains(out, "degraded")
	})
}

// reboot shuts the machine down in order, and boots it again.
func (m *machine) reboot() {
	m.t.Helper()
	pid, err := strconv.Atoi(m.leader)
	must(m.t, err)
	m.try("systemctl", "poweroff")
	m.until("the machine to be off", 60*time.Second, func() bool { return syscall.Kill(pid, 0) != nil })
	m.start()
}

// try runs a program in the machine.
func (m *machine) try(name string, args ...string) (string, error) {
	c := exec.Command("nsenter", append([]string{"-t", m.leader, "-m", "-u", "-i", "-n", "-p", "-C", name}, args...)...)
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(""), &out, &out
	err := c.Run()
	return strings.TrimSpace(out.String()), err
}

// run runs a program in the machine that must succeed.
func (m *machine) run(name string, args ...string) string {
	m.t.Helper()
	out, err := m.try(name, args...)
	if err != nil {
		journal, _ := m.try("journalctl", "-n", "30", "--no-pager")
		m.t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, journal)
	}
	return out
}

// show returns a property of a service.
func (m *machine) show(unit, property string) string {
	out, _ := m.try("systemctl", "show", unit, "-p", property, "--value")
	return out
}

// until waits for a condition.
func (m *machine) until(what string, limit time.Duration, ok func() bool) time.Duration {
	m.t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > limit {
			journal, _ := m.try("journalctl", "-n", "30", "--no-pager")
			m.t.Fatalf("waited %s for %s\n%s", limit, what, journal)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begin)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outside returns the PID that this machine knows a process of the machine by.
func (m *machine) outside(pid string) string {
	m.t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/status")
	must(m.t, err)
	space, err := os.Readlink("/proc/" + m.leader + "/ns/pid")
	must(m.t, err)
	for _, path := range list {
		status, _ := os.ReadFile(path)
		for line := range strings.Lines(string(status)) {
			if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
				f := strings.Fields(ids)
				if ns, _ := os.Readlink(filepath.Join(filepath.Dir(path), "ns/pid")); len(f) > 1 && f[len(f)-1] == pid && ns == space {
					return filepath.Base(filepath.Dir(path))
				}
			}
		}
	}
	m.t.Fatalf("process %s of the machine is not found", pid)
	return ""
}
