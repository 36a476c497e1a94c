package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/fieldpost/fieldpost/agent"
)

// pages answers who watches this machine: whether the daemon runs and takes messages,
// and its metrics.
func pages(a *agent.Agent, in *inputs) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		st := a.Status()
		for i := range st.Lanes {
			if l := &st.Lanes[i]; l.State == agent.LaneBroken || l.State == agent.LaneFailing || l.State == agent.LaneFull && l.Overflow == agent.Reject {
				http.Error(w, fmt.Sprintf("lane %s takes no messages: it is %s; see \"agent status\"", l.Lane, l.State), http.StatusServiceUnavailable)
				return
			}
		}
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write(exposition(families, &snapshot{a.Status(), in.status(), time.Now(), processNow()}))
	})
	return mux
}

// servePages serves h on l until ctx ends.
func servePages(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		log.Error("nobody sees the metrics any more; restart the daemon", "err", err)
		s.Close()
		return
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second/2)
	defer cancel()
	if s.Shutdown(wait) != nil {
		s.Close()
	}
	<-ended
}
