package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
)

// servePages serves health and metrics on l until ctx ends.
func servePages(ctx context.Context, l net.Listener, srv *collector.Server, j *journal.Journal, sec *security, dir string, each bool) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&metrics{srv, j, sec, dir, each}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	ready := &probe{dir: dir}
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready.check(time.Now()); err != nil {
			http.Error(w, "the journal's disk takes no writes: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	var handler http.Handler = mux
	if !config.IsLocal(l.Addr().String()) {
		made, err := enroll.FirstBearer(ctx, dir)
		if err != nil {
			return fmt.Errorf("http: the bearer token for the pages: %w", err)
		}
		if made {
			sec.log.Info("a bearer token for the pages was made; they want it from other machines", "next", `"collector token http" prints it, once`)
		}
		bearer := enroll.OpenBearer(dir)
		handler = guarded(mux, bearer)
		l = tls.NewListener(l, sec.pages())
	}
	s := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(sec.log.Handler(), slog.LevelDebug), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		s.Close()
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if s.Shutdown(wait) != nil {
		s.Close()
	}
	<-ended
	return nil
}

// guarded lets nobody to h who has no bearer token, but to see that the process
// runs.
func guarded(h http.Handler, bearer *enroll.Bearer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.URL.Path != "/healthz" && (!ok || !bearer.Allows(token)) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fieldpost"`)
			http.Error(w, `a bearer token is wanted; "collector token http" prints it or makes a new one`, http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// probe finds out whether a folder's disk takes writes, at most once a second
// however often it is asked.
type probe struct {
	dir string

	mu  sync.Mutex
	at  time.Time
	err error
}

func (p *probe) check(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.at) >= time.Second {
		p.at, p.err = now, tryWrite(p.dir)
	}
	return p.err
}

// tryWrite writes and syncs a page in dir and removes it again.
func tryWrite(dir string) (err error) {
	// One name, so that a kill in the middle leaves one file at most.
	f, err := os.OpenFile(filepath.Join(dir, ".ready"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return err
	}
	return f.Sync()
}
