package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/internal/service"
)

// Service is the service that this machine may have of the program.
type Service struct {
	Daemon service.Daemon
	Ours   bool // the folder that is examined is the service's

	look func(context.Context, service.Daemon) (service.Details, error) // for tests; nil: the system's
}

// restartsDoubt is how many restarts by the service system are worth a look.
const restartsDoubt = 3

// Check returns the check of the service's state.
func (s *Service) Check() Check {
	// One after the other: Windows' service manager is asked by both.
	return Check{Group: "service", Name: "service", After: []string{"time-service"}, Run: s.run}
}

func (s *Service) run(ctx context.Context) []Finding {
	look := s.look
	if look == nil {
		look = service.Look
	}
	name := s.Daemon.Name
	d, err := look(ctx, s.Daemon)
	if err != nil && !s.Ours {
		return []Finding{Good("this folder is not a service's; the service system does not answer (%v)", err)}
	}
	if err != nil {
		return []Finding{Doubt(asRoot, "the service system does not say how %s is: %v", name, err)}
	}
	switch {
	case !s.Ours && d.Installed:
		return []Finding{Good("this folder is not that of the service %s, which is %s", name, d.State)}
	case !s.Ours:
		return []Finding{Good("no service is installed, and this folder is not a service's")}
	case d.Platform == "":
		return []Finding{Doubt("see that something starts the program with the machine", "this machine has no service system that is known")}
	case !d.Installed:
		return []Finding{Bad("\"service install\", then \"service start\"", "%s is not installed (%s)", name, d.Platform)}
	}
	since := ""
	if !d.Since.IsZero() {
		since = fmt.Sprintf(" since %s", d.Since.UTC().Format(time.RFC3339))
	}
	logs := "see why: journalctl -u " + name + " -n 50"
	if d.Platform != "linux-systemd" {
		logs = "see its log why"
	}
	var list []Finding
	switch {
	case d.State == "starting":
		list = append(list, Doubt(logs, "%s is starting, after %d restarts", name, max(0, d.Restarts)))
	case !d.Running():
		result := ""
		if d.Result != "" {
			result = " (" + d.Result + ")"
		}
		list = append(list, Bad(logs+"; then \"service start\"", "%s is %s%s%s", name, d.State, since, result))
	case d.Restarts > restartsDoubt:
		list = append(list, Doubt(logs, "%s runs%s, but had to be started again %d times", name, since, d.Restarts))
	default:
		list = append(list, Good("%s runs%s (%s)", name, since, d.Platform))
	}
	switch d.Boot {
	case service.No:
		list = append(list, Doubt("systemctl enable "+name+", or the same by the system's own means", "it does not start with the machine").For("start"))
	case service.Yes:
		list = append(list, Good("it starts with the machine").For("start"))
	}
	if d.Stale {
		list = append(list, Doubt("systemctl daemon-reload, then \"service restart\"", "its unit was changed, and systemd has not read it").For("unit"))
	}
	return list
}
