package main

import (
	"context"
	"net/http"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/control"
)

// handler answers the commands that reach the daemon.
func handler(srv *collector.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /agents", control.Handle(func(context.Context, struct{}) ([]collector.AgentStatus, error) {
		return srv.Agents(), nil
	}))
	return mux
}
