package main

import (
	"context"
	"errors"
	"net"

	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/doctor"
)

// pagesCheck looks whether health and metrics are served where they are to be.
func (e *examination) pagesCheck() doctor.Check {
	return doctor.Check{Group: "network", Name: "pages", Needs: []string{"folder"}, Run: func(ctx context.Context) []doctor.Finding {
		addr := e.cfg.HTTP
		_, err := e.about()
		switch {
		case addr == "":
			return []doctor.Finding{doctor.Good("none are served")}
		case errors.Is(err, control.ErrNotRunning):
			return doctor.CanListen(addr)
		case port(addr) == "0":
			return []doctor.Finding{doctor.Good("on whatever port was free: the log has it")}
		}
		if err := doctor.Answers(ctx, addr); err != nil {
			return []doctor.Finding{doctor.Doubt("see the agent's log; another program may have the port, or the agent was started with another --http", "nothing answers on %s: %v", addr, err)}
		}
		return []doctor.Finding{doctor.Good("%s: this machine alone sees them", addr)}
	}}
}

// port is that of an address, host:port.
func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	return p
}
