package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/internal/service"
)

func doctorCommand() *cobra.Command {
	var s settings
	return doctor.Command(doctor.Setup{
		Program: "agent",
		Checks: `configuration, names, route, port, proxy, TLS and
its dates, whether the collector takes this agent, clock, identity, disk space, fsync
speed, permissions, service, link and queue.

Without --config and --dir it examines ./fieldpost-agent if that is there, else the
service's folder by its configuration, if it is installed.`,
		Example: `  agent doctor
  agent doctor --dir ./pump-7
  sudo agent doctor --config /etc/fieldpost/agent.yaml --bundle pump-7.tar.gz
  agent doctor --json | jq '.checks[] | select(.status != "ok")'`,
		Define: func(c *cobra.Command) {
			s.addFile(c.Flags())
			s.addLink(c.Flags())
		},
		Prepare: func(ctx context.Context) (doctor.Contents, []doctor.Check, error) {
			e, err := newExamination(ctx, &s)
			if err != nil {
				return doctor.Contents{}, nil, err
			}
			return e.contents(), e.checks(ctx), nil
		},
	})
}

// examination is one look at an agent.
type examination struct {
	file    string // the configuration, "" if there is none
	cfg     config.Agent
	cfgErr  error // why the file is not used
	service bool  // the folder is the service's

	// Each is asked once, however many checks want it.
	about       func() (doctor.About, error)
	status      func() (fullStatus, error)
	lanes       func() (laneList, error)
	credentials func() (agent.Credentials, error)

	ask doctor.Asker
}

// newExamination finds out what is to be examined. Its error is about the command
// line.
func newExamination(ctx context.Context, s *settings) (*examination, error) {
	e := &examination{}
	if s.file == "" && !s.dir.Given && !there(config.DefaultAgent().Dir) && there(serviceConfig) {
		s.file = serviceConfig
	}
	e.file = s.file
	var err error
	if e.cfg, err = s.load(); err != nil {
		if daemon.CodeOf(err) == daemon.Usage {
			return nil, err
		}
		e.cfgErr = err
		e.cfg, err = withoutFile(s)
		if err != nil {
			return nil, err
		}
	}
	e.service = doctor.SamePath(e.cfg.Dir, serviceData)
	e.about = sync.OnceValues(func() (a doctor.About, err error) {
		err = e.ask.Do(ctx, askWithin, func(ctx context.Context) error { a, err = doctor.Ask(ctx, e.cfg.Dir); return err })
		return a, err
	})
	e.status = sync.OnceValues(func() (st fullStatus, err error) {
		err = e.ask.Do(ctx, askWithin, func(ctx context.Context) error { st, err = status(ctx, e.cfg.Dir); return err })
		return st, err
	})
	e.lanes = sync.OnceValues(func() (l laneList, err error) {
		err = e.ask.Do(ctx, 8*time.Second, func(ctx context.Context) error {
			for range 10 { // whoever else looks at the moment locks the lanes, too
				if l, err = contents(ctx, e.cfg.Dir, ""); !errors.Is(err, agent.ErrInUse) {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			return err
		})
		return l, err
	})
	e.credentials = sync.OnceValues(func() (agent.Credentials, error) {
		return agent.ReadCredentials(e.cfg.Dir, agent.TLS{CA: e.cfg.TLS.CA, Cert: e.cfg.TLS.Cert, Key: e.cfg.TLS.Key, ServerName: e.cfg.TLS.ServerName})
	})
	return e, nil
}

// withoutFile is what is known of an agent whose configuration is wrong.
func withoutFile(s *settings) (config.Agent, error) {
	file := s.file
	s.file = ""
	defer func() { s.file = file }()
	c, err := s.load()
	if data, rerr := os.ReadFile(file); rerr == nil && !s.dir.Given {
		c.Dir = cmp.Or(doctor.FolderIn(data), c.Dir)
	}
	return c, err
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// collectors are those that the agent links to.
func (e *examination) collectors() []string {
	if len(e.cfg.Collectors) > 0 {
		return e.cfg.Collectors
	}
	if at, err := agent.ReadEnrolment(e.cfg.Dir); err == nil && !e.cfg.Plaintext {
		return []string{at.Collector}
	}
	return nil
}

// checks are all of them, in the order in which they are shown.
func (e *examination) checks(ctx context.Context) []doctor.Check {
	dir := e.cfg.Dir
	good := "no file: flags and defaults"
	if e.file != "" {
		good = e.file + " is good: " + summary(e.cfg)
	}
	start := `agent run --dir ` + dir
	if e.service {
		start = `start it: fieldpost-agent service start; "service" says why it does not run`
	}
	list := []doctor.Check{
		doctor.Configuration(e.file, good, e.cfgErr),
		doctor.Folder(dir, doctor.Bad("name an agent's folder with --dir, or its configuration with --config; a new one is made by agent enroll or agent run", "there is no folder %s", dir)),
	}
	disk := doctor.Disk{Dir: dir, Floor: e.floor}
	list = append(list, disk.Checks()...)
	rights := doctor.Rights{Dir: dir, Config: e.file}
	if e.service {
		rights.User = "fieldpost"
	}
	list = append(list, rights.Check())
	list = append(list, e.identityChecks()...)

	var paths []*doctor.Path
	var network, security []doctor.Check
	for _, addr := range e.collectors() {
		p := doctor.NewPath(addr)
		paths = append(paths, p)
		network = append(network, p.Names(), p.Route(), p.Port())
		l := doctor.Link{Path: p, Agent: e.id()}
		if !e.cfg.Plaintext {
			l.TLS = e.tls(addr)
		}
		security = append(security, l.Secure(), l.Admission())
	}
	list = append(append(list, e.collectorCheck()), network...)
	if len(paths) > 0 {
		list = append(list, doctor.Proxy(paths))
	}
	list = append(list, e.pagesCheck())
	list = append(append(list, e.certificateCheck()), security...)
	clock := doctor.Clock{NotBefore: e.notBefore(), Offset: e.offset, Jump: e.jump}
	list = append(list, clock.Checks()...)

	svc := doctor.Service{Daemon: service.Daemon{Name: "fieldpost-agent", Config: serviceConfig, Data: serviceData, User: "fieldpost"}, Ours: e.service}
	list = append(list, svc.Check())
	process := doctor.Process{Program: "agent", Dir: dir, Version: daemon.Version(), Started: start, Must: e.service,
		Ask: func(context.Context) (doctor.About, error) { return e.about() },
		Held: func() bool {
			err := e.ask.Do(ctx, askWithin, func(context.Context) error { _, err := agent.ReadStatus(dir); return err })
			return errors.Is(err, agent.ErrInUse)
		},
	}
	list = append(list, process.Checks()...)
	return append(list, e.linkCheck(), e.queueCheck())
}

// floor is what the lanes leave free of a disk of that size: the most that one does.
func (e *examination) floor(total int64) int64 {
	def := min(total/20, 512<<20)
	floor := int64(-1)
	if _, ok := e.cfg.Lanes["default"]; !ok {
		floor = def
	}
	for _, l := range e.cfg.Lanes {
		free := int64(l.FreeSpace)
		if free == 0 {
			free = def
		}
		floor = max(floor, free)
	}
	return max(0, floor)
}

// offset tells how far the collector's clock is from this one, as it told the running
// agent.
func (e *examination) offset() (offset time.Duration, known bool) {
	st, err := e.status()
	if err != nil || st.Link.ClockAt.IsZero() {
		return 0, false
	}
	return time.Duration(st.Link.ClockOffset), true
}

// jump tells how far this clock was set since the running agent began.
func (e *examination) jump(context.Context) time.Duration {
	a, err := e.about()
	if err != nil {
		return 0
	}
	return time.Duration(a.ClockJump * float64(time.Second))
}

// notBefore is a time that has certainly passed.
func (e *examination) notBefore() (t time.Time) {
	if c, err := e.credentials(); err == nil {
		t = c.Certificate.NotBefore
		for _, ca := range c.Authorities {
			if ca.NotBefore.After(t) {
				t = ca.NotBefore
			}
		}
	}
	if info, err := os.Stat(e.cfg.Dir); err == nil && info.ModTime().After(t) {
		t = info.ModTime()
	}
	return t
}

// contents are what a bundle is made of.
func (e *examination) contents() doctor.Contents {
	c := doctor.Contents{Report: doctor.Report{Dir: e.cfg.Dir, Config: e.file}, Config: e.file, Parts: e.parts()}
	if e.service {
		c.Unit = "fieldpost-agent"
	}
	return c
}

// plural counts things.
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
