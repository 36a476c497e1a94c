package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/internal/service"
)

func doctorCommand() *cobra.Command {
	var s settings
	return doctor.Command(doctor.Setup{
		Program: "collector",
		Checks: `configuration, the addresses
it listens on, who can reach its pages, certificates and their names and dates, clock,
disk space, fsync speed, permissions, service, descriptors, journal and agents.

Without --config and --dir it examines ./fieldpost-collector if that is there, else the
service's folder by its configuration, if it is installed. Of the journal it reads as much
as a few seconds allow; "collector verify" reads all.`,
		Example: `  collector doctor
  sudo collector doctor --config /etc/fieldpost/collector.yaml --bundle collector.tar.gz
  collector doctor --json | jq '.checks[] | select(.status != "ok")'`,
		Define: func(c *cobra.Command) {
			s.addFile(c.Flags())
			s.addServer(c.Flags())
		},
		Prepare: func(ctx context.Context) (doctor.Contents, []doctor.Check, error) {
			e, err := newExamination(ctx, &s)
			if err != nil {
				return doctor.Contents{}, nil, err
			}
			return e.contents(), e.checks(), nil
		},
	})
}

// examination is one look at a collector.
type examination struct {
	file    string // the configuration, "" if there is none
	cfg     config.Collector
	cfgErr  error // why the file is not used
	service bool  // the folder is the service's

	// Each is asked once, however many checks want it.
	agents    func() (known, error)
	about     func() (doctor.About, error)
	listening func() (string, error)
	shown     func() (*x509.Certificate, error)
	journal   func() (verified, error)

	ask doctor.Asker
}

// known are the agents as the collector, or its journal, knows them.
type known struct {
	list    []collector.AgentStatus
	running bool
}

// newExamination finds out what is to be examined. Its error is about the command
// line.
func newExamination(ctx context.Context, s *settings) (*examination, error) {
	e := &examination{}
	if s.file == "" && !s.dir.Given && !there(config.DefaultCollector().Dir) && there(serviceConfig) {
		s.file = serviceConfig
	}
	e.file = s.file
	var err error
	if e.cfg, err = s.load(); err != nil {
		if daemon.CodeOf(err) == daemon.Usage {
			return nil, err
		}
		e.cfgErr, e.cfg = err, config.DefaultCollector()
		if data, err := os.ReadFile(e.file); err == nil {
			e.cfg.Dir = cmp.Or(doctor.FolderIn(data), e.cfg.Dir)
		}
		if s.dir.Given {
			e.cfg.Dir = s.given.Dir
		}
	}
	e.service = doctor.SamePath(e.cfg.Dir, serviceData)
	e.agents = sync.OnceValues(func() (k known, err error) {
		err = e.ask.Do(ctx, 6*time.Second, func(ctx context.Context) error { k.list, k.running, err = agents(ctx, e.cfg.Dir); return err })
		return k, err
	})
	e.about = sync.OnceValues(func() (a doctor.About, err error) {
		err = e.ask.Do(ctx, 5*time.Second, func(ctx context.Context) error { a, err = doctor.Ask(ctx, e.cfg.Dir); return err })
		return a, err
	})
	e.listening = sync.OnceValues(func() (addr string, err error) {
		err = e.ask.Do(ctx, 5*time.Second, func(ctx context.Context) error { addr, err = listening(ctx, e.cfg.Dir); return err })
		return addr, err
	})
	e.shown = sync.OnceValues(func() (*x509.Certificate, error) {
		addr, err := e.listening()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return showing(ctx, addr)
	})
	e.journal = sync.OnceValues(func() (verified, error) { return verify(ctx, e.cfg.Dir, verifyWithin) })
	return e, nil
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// checks are all of them, in the order in which they are shown.
func (e *examination) checks() []doctor.Check {
	dir := e.cfg.Dir
	good := "no file: flags and defaults"
	if e.file != "" {
		good = e.file + " is good"
	}
	start := "collector run --dir " + dir
	if e.service {
		start = `start it: fieldpost-collector service start; "service" says why it does not run`
	}
	list := []doctor.Check{
		doctor.Configuration(e.file, good, e.cfgErr),
		doctor.Folder(dir, doctor.Bad("name a collector's folder with --dir, or its configuration with --config; collector run makes a new one", "there is no folder %s", dir)),
	}
	disk := doctor.Disk{Dir: dir, Floor: func(int64) int64 { return 16 << 20 }}
	list = append(list, disk.Checks()...)
	rights := doctor.Rights{Dir: dir, Config: e.file}
	if e.service {
		rights.User = "fieldpost"
	}
	list = append(list, rights.Check(), e.listenCheck(), e.pagesCheck(), e.certificateCheck())
	clock := doctor.Clock{NotBefore: e.notBefore(), Jump: e.jump}
	list = append(list, clock.Checks()...)

	svc := doctor.Service{Daemon: service.Daemon{Name: "fieldpost-collector", Config: serviceConfig, Data: serviceData, User: "fieldpost"}, Ours: e.service}
	list = append(list, svc.Check())
	process := doctor.Process{Program: "collector", Dir: dir, Version: daemon.Version(), Started: start, Must: e.service,
		Ask: func(context.Context) (doctor.About, error) { return e.about() },
		Wants: func() int { // a link each, and some for the journal and the pages
			k, err := e.agents()
			if err != nil {
				return 0
			}
			return len(k.list) + 128
		}}
	list = append(list, process.Checks()...)
	return append(list, e.storeCheck(), e.journalCheck(), e.agentsCheck())
}

// jump tells how far the clock was set since the running collector began.
func (e *examination) jump(context.Context) time.Duration {
	a, err := e.about()
	if err != nil {
		return 0
	}
	return time.Duration(a.ClockJump * float64(time.Second))
}

// notBefore is a time that has certainly passed.
func (e *examination) notBefore() (t time.Time) {
	if _, ca, err := e.authority(); err == nil {
		t = ca.NotBefore
	}
	if info, err := os.Stat(e.cfg.Dir); err == nil && info.ModTime().After(t) {
		t = info.ModTime()
	}
	return t
}

// contents are what a bundle is made of.
func (e *examination) contents() doctor.Contents {
	c := doctor.Contents{Report: doctor.Report{Dir: e.cfg.Dir, Config: e.file}, Config: e.file, Parts: []doctor.Part{
		{Name: "agents.json", What: "collector agents: each agent's state, backlog and incidents", Get: func(ctx context.Context) (any, error) {
			k, err := e.agents()
			if err != nil {
				return nil, err
			}
			past, err := pastOf(ctx, e.cfg.Dir)
			return views(k.list, past), err
		}},
		{Name: "verify.json", What: "collector verify, as far as it got: what is damaged, by file and place", Get: func(context.Context) (any, error) {
			v, err := e.journal()
			return v, err
		}},
	}}
	if e.service {
		c.Unit = "fieldpost-collector"
	}
	return c
}
