package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v4/mem"

	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/service"
)

func TestService(t *testing.T) {
	well := service.Details{Platform: "linux-systemd", Installed: true, State: "running", Boot: service.Yes, Since: time.Unix(1e9, 0)}
	with := func(change func(*service.Details)) service.Details {
		d := well
		change(&d)
		return d
	}
	for _, c := range []struct {
		name   string
		other  bool // the folder is not the service's
		d      service.Details
		err    error
		status []Status
		parts  []string
	}{
		{"running", false, well, nil, []Status{OK, OK}, []string{"runs since 2001-09-09T01:46:40Z"}},
		{"stopped", false, with(func(d *service.Details) { d.State = "stopped" }), nil, []Status{Fail, OK}, []string{"is stopped", "service start"}},
		{"failed", false, with(func(d *service.Details) { d.State, d.Result = "failed", "exit code 78" }), nil, []Status{Fail, OK}, []string{"(exit code 78)", "journalctl -u x"}},
		{"starting", false, with(func(d *service.Details) { d.State, d.Restarts = "starting", 7 }), nil, []Status{Warn, OK}, []string{"after 7 restarts"}},
		{"restarting again and again", false, with(func(d *service.Details) { d.Restarts = 9 }), nil, []Status{Warn, OK}, []string{"again 9 times"}},
		{"not enabled", false, with(func(d *service.Details) { d.Boot = service.No }), nil, []Status{OK, Warn}, nil},
		{"its unit was changed", false, with(func(d *service.Details) { d.Stale = true }), nil, []Status{OK, OK, Warn}, nil},
		{"not installed", false, service.Details{Platform: "linux-systemd"}, nil, []Status{Fail}, []string{"not installed"}},
		{"no service system", false, service.Details{}, nil, []Status{Warn}, []string{"no service system"}},
		{"no answer", false, service.Details{}, errors.New("bus"), []Status{Warn}, []string{"bus"}},
		{"another folder", true, well, nil, []Status{OK}, []string{"not that of the service"}},
		{"no service, another folder", true, service.Details{Platform: "linux-systemd"}, nil, []Status{OK}, []string{"no service is installed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Service{Daemon: service.Daemon{Name: "x"}, Ours: !c.other, look: func(context.Context, service.Daemon) (service.Details, error) { return c.d, c.err }}
			list := s.run(t.Context())
			if len(list) != len(c.status) {
				t.Fatalf("%+v", list)
			}
			want(t, list[0], c.status[0], c.parts...)
			for i, f := range list {
				want(t, f, c.status[i])
			}
		})
	}
}

// A daemon that nobody has installed, asked of this machine's real service system.
func TestAServiceThatIsNotThere(t *testing.T) {
	s := Service{Daemon: service.Daemon{Name: "fieldpost-nobody-has-this", Program: "/bin/true", Config: "/etc/x", Data: "/var/lib/x", User: "x"}, Ours: true}
	if f := one(t, s.run(t.Context())); f.Status == OK {
		t.Errorf("%+v", f)
	}
}

func TestProcess(t *testing.T) {
	well := About{Version: "v1", PID: 7, User: "fieldpost", Files: 20, FilesLimit: 1024, Memory: 20 << 20, MemoryLimit: 512 << 20}
	with := func(change func(*About)) About {
		a := well
		change(&a)
		return a
	}
	none := fmt.Errorf("x: %w", control.ErrNotRunning)
	held := func() bool { return true }
	machine := func(available uint64) func() (*mem.VirtualMemoryStat, error) {
		return func() (*mem.VirtualMemoryStat, error) {
			return &mem.VirtualMemoryStat{Total: 1 << 30, Available: available}, nil
		}
	}
	for _, c := range []struct {
		check  string
		name   string
		p      Process
		a      About
		err    error
		status Status
		parts  []string
	}{
		{"daemon", "runs", Process{}, well, nil, OK, []string{"process 7 of fieldpost"}},
		{"daemon", "does not run, and should", Process{Must: true, Started: "start it"}, About{}, none, Fail, []string{"no agent runs", "start it"}},
		{"daemon", "does not run", Process{Started: "start it"}, About{}, none, Warn, []string{"nothing is read or delivered"}},
		{"daemon", "somebody else has the folder", Process{Held: held}, About{}, none, Warn, []string{"embeds the agent"}},
		{"daemon", "hangs", Process{}, About{}, fmt.Errorf("x: %w", control.ErrNoAnswer), Fail, []string{"does not answer"}},
		{"daemon", "is somebody else's", Process{}, About{}, fs.ErrPermission, Warn, []string{"as root"}},
		{"daemon", "is older", Process{}, About{}, &control.Refusal{Code: "bad-request", Message: "unknown"}, Fail, []string{"another version"}},
		{"versions", "the same", Process{}, well, nil, OK, nil},
		{"versions", "different", Process{}, with(func(a *About) { a.Version = "v0" }), nil, Warn, []string{"the daemon is v0, this command is v1"}},
		{"versions", "none runs", Process{}, About{}, none, OK, []string{"v1"}},
		{"descriptors", "enough", Process{}, well, nil, OK, []string{"20 files"}},
		{"descriptors", "near", Process{}, with(func(a *About) { a.Files = 800 }), nil, Warn, []string{"LimitNOFILE"}},
		{"descriptors", "none left", Process{}, with(func(a *About) { a.Files = 1023 }), nil, Fail, []string{"new ones fail"}},
		{"descriptors", "not for all that may come", Process{Wants: func() int { return 5000 }}, well, nil, Warn, []string{"5000 are wanted"}},
		{"descriptors", "not known", Process{}, About{}, none, OK, nil},
		{"memory", "enough", Process{machine: machine(1 << 29)}, About{}, none, OK, []string{"512MiB of the machine's 1.00GiB"}},
		{"memory", "little", Process{machine: machine(40 << 20)}, About{}, none, Warn, []string{"40.0MiB"}},
		{"memory", "none", Process{machine: machine(4 << 20)}, About{}, none, Fail, []string{"4.00MiB"}},
	} {
		t.Run(c.check+" "+c.name, func(t *testing.T) {
			p := c.p
			p.Program, p.Version = "agent", "v1"
			p.Ask = func(context.Context) (About, error) { return c.a, c.err }
			for _, check := range p.Checks() {
				if check.Name == c.check {
					want(t, one(t, check.Run(t.Context())), c.status, c.parts...)
				}
			}
		})
	}
	p := Process{machine: machine(1 << 29), Ask: func(context.Context) (About, error) {
		return with(func(a *About) { a.Memory = 480 << 20 }), nil
	}}
	list := p.memory(t.Context())
	want(t, list[1], Warn, "480MiB are the daemon's", "MemoryMax")
}

func TestAboutThisProcess(t *testing.T) {
	a := NewSelf().About()
	if a.PID == 0 || a.User == "" || a.Version == "" || a.ClockJump > 1 || a.ClockJump < -1 {
		t.Errorf("%+v", a)
	}
}
