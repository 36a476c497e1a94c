package main

import (
	"context"
	"net/http"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/wire"
)

// handler answers the commands that reach the daemon; listen is where it waits for
// agents.
func handler(srv *collector.Server, j *journal.Journal, sec *security, re *reloader, listen string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /listen", control.Handle(func(context.Context, struct{}) (string, error) { return listen, nil }))
	mux.Handle("GET /agents", control.Handle(func(context.Context, struct{}) ([]collector.AgentStatus, error) {
		return srv.Agents(), nil
	}))
	mux.HandleFunc("GET /agents/past", func(w http.ResponseWriter, r *http.Request) {
		control.Handle(func(ctx context.Context, _ struct{}) ([]journal.Past, error) {
			return j.Pasts(ctx, wire.AgentID(r.URL.Query().Get("id")))
		}).ServeHTTP(w, r)
	})
	mux.Handle("POST /audit/close", control.Handle(func(ctx context.Context, r closeRequest) (ledger.Closing, error) {
		return j.Accept(ctx, r.Agent, r.closing())
	}))
	mux.Handle("POST /agents/forget", control.Handle(func(ctx context.Context, r forgetRequest) (struct{}, error) {
		return struct{}{}, forgetAlive(ctx, srv, j, sec, &r)
	}))
	mux.Handle("POST /reload", control.Handle(func(context.Context, struct{}) (reloaded, error) { return re.reload() }))
	addImport(mux, srv)
	doctor.Serve(mux)
	return mux
}
