package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/wire"
)

// id is whose folder it is, "" if that is not known.
func (e *examination) id() wire.AgentID {
	id, _, err := agent.ReadLanes(e.cfg.Dir)
	if err != nil || id == "" {
		return wire.AgentID(e.cfg.ID)
	}
	return wire.AgentID(id)
}

// manyHave are names that many machines have as they come.
var manyHave = []string{"localhost", "localhost.localdomain", "debian", "ubuntu", "raspberrypi", "raspberry", "linux", "alpine", "openwrt", "buildroot", "beaglebone", "yocto"}

// identityChecks look whose the folder is, and whether somebody else may be the same.
func (e *examination) identityChecks() []doctor.Check {
	return []doctor.Check{
		{Group: "identity", Name: "identity", Time: 8 * time.Second, Needs: []string{"folder"}, Run: e.identity},
		{Group: "identity", Name: "machine-id", Run: func(context.Context) []doctor.Finding { return machineID("/etc/machine-id") }},
	}
}

func (e *examination) identity(context.Context) []doctor.Finding {
	id, lanes, err := agent.ReadLanes(e.cfg.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []doctor.Finding{doctor.Bad("name an agent's folder with --dir; a new one becomes one by agent enroll or agent run", "%s is no agent's folder", e.cfg.Dir)}
	case errors.Is(err, fs.ErrPermission):
		return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not read whose folder it is")}
	case err != nil:
		return []doctor.Finding{doctor.Bad("restore the folder, or name another one", "%v", err)}
	case id == "" && unreadable(e.cfg.Dir):
		return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not read whose folder it is")}
	case id == "":
		return []doctor.Finding{doctor.Bad(`start the agent: it writes that file again if the lanes say whose they are; else restore it, it has {"format":1,"agent":"ID"}`,
			"agent.json is missing or damaged: the folder has %d lanes and does not say whose they are", len(lanes))}
	case e.cfg.ID != "" && e.cfg.ID != id:
		return []doctor.Finding{doctor.Bad("use that id, or another folder: a folder is one agent's for good", "the folder is agent %s's, and the configuration says %s", id, e.cfg.ID)}
	}
	if st, err := e.status(); err == nil && st.Link.State == "duplicate-identity" {
		return []doctor.Finding{doctor.Bad("find the clone (collector agents names host and address), and give it an id and a folder of its own", "another process uses the id %s: %s", id, st.Link.Error)}
	}
	if slices.Contains(manyHave, strings.ToLower(id)) {
		return []doctor.Finding{doctor.Doubt("give each machine an id of its own (--id with a new folder) before there are two", "the id %s is the name that many machines come with", id)}
	}
	return []doctor.Finding{doctor.Good("agent %s", id)}
}

// unreadable reports whether agent.json is there and this user may not read it.
func unreadable(dir string) bool {
	_, err := os.ReadFile(dir + "/agent.json")
	return errors.Is(err, fs.ErrPermission)
}

// machineID looks at the id that systemd gives a machine: an image that is copied with
// it makes machines that take themselves for one.
func machineID(path string) []doctor.Finding {
	if runtime.GOOS != "linux" {
		return []doctor.Finding{doctor.Good("not looked at on this system")}
	}
	b, err := os.ReadFile(path)
	text := strings.TrimSpace(string(b))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []doctor.Finding{doctor.Good("this machine has none")}
	case err != nil:
		return []doctor.Finding{doctor.Doubt("look at "+path, "%v", err)}
	case text == "" || text == "uninitialized":
		return []doctor.Finding{doctor.Doubt("systemd-machine-id-setup; an image for many machines is to have it empty, and a machine not", "%s is empty: this machine may be started from an image each time", path)}
	}
	return []doctor.Finding{doctor.Good("this machine has one")}
}

// tls gives the settings for a link to addr.
func (e *examination) tls(addr string) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		c, err := e.credentials()
		if err != nil {
			return nil, err
		}
		return c.TLS(addr)
	}
}

// certificateCheck looks at the agent's certificate and the authorities it trusts.
func (e *examination) certificateCheck() doctor.Check {
	return doctor.Check{Group: "security", Name: "certificate", Time: 8 * time.Second, Needs: []string{"folder", "identity"}, Run: func(context.Context) []doctor.Finding {
		if e.cfg.Plaintext {
			return []doctor.Finding{doctor.Good("none is needed: links are plain TCP by insecure_plaintext")}
		}
		c, err := e.credentials()
		switch {
		case errors.Is(err, agent.ErrNotEnrolled):
			return []doctor.Finding{doctor.Bad(`"collector token create" beside the collector prints the command to run here; messages are kept until then`, "this agent is not enrolled: it has no certificate")}
		case errors.Is(err, fs.ErrPermission):
			return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not read the certificate")}
		case err != nil:
			return []doctor.Finding{doctor.Bad("mend or replace the file, or enrol again", "%v", err)}
		}
		now := time.Now()
		list := []doctor.Finding{doctor.Dates("the agent's certificate", c.Certificate, now, c.Enrolled)}
		for _, ca := range c.Authorities {
			list = append(list, doctor.Dates("the authority "+ca.Subject.CommonName, ca, now, false).For("authority"))
		}
		if st, err := e.status(); err == nil && st.Link.CertificateError != "" {
			list = append(list, doctor.Doubt("mend that before the certificate ends", "%s", st.Link.CertificateError).For("renewal"))
		}
		return list
	}}
}

// collectorCheck looks whether the agent knows where to deliver.
func (e *examination) collectorCheck() doctor.Check {
	return doctor.Check{Group: "network", Name: "collector", Run: func(context.Context) []doctor.Finding {
		list := e.collectors()
		if len(list) == 0 {
			return []doctor.Finding{doctor.Bad("enrol at a collector (agent enroll --help), or name one under collectors or with --collector", "no collector is named, and this agent was enrolled at none: nothing is delivered")}
		}
		return []doctor.Finding{doctor.Good("%s", strings.Join(list, ", then "))}
	}}
}
