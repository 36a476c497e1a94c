package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/pki"
)

// remote is a listener that other machines reach, as far as it says.
type remote struct{ net.Listener }

func (remote) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4718} }

// Pages that other machines reach want TLS and the bearer token, but for healthz.
func TestPagesForOtherMachines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	j, err := journal.Open(journal.Options{Dir: dir, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	c := config.DefaultCollector()
	c.Dir = dir
	sec, err := newSecurity(&c, log)
	if err != nil {
		t.Fatal(err)
	}
	cfg := collector.Config{Store: j, Logger: log}
	if err := sec.apply(&cfg); err != nil {
		t.Fatal(err)
	}
	srv, err := collector.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- servePages(ctx, remote{l}, srv, j, sec, dir, false) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	b, err := os.ReadFile(filepath.Join(dir, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pki.ParseCerts(b)
	if err != nil {
		t.Fatal(err)
	}
	get := func(roots *x509.CertPool, page, token string) (int, string) {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+page, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	roots := pki.Pool(certs)
	if code, body := get(x509.NewCertPool(), "/healthz", ""); code != 0 {
		t.Errorf("without the authority: %d %s", code, body)
	}
	if code, body := get(roots, "/healthz", ""); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, body)
	}
	for _, token := range []string{"", "x"} {
		if code, body := get(roots, "/metrics", token); code != http.StatusUnauthorized || strings.Contains(body, "fieldpost_") {
			t.Errorf("metrics with token %q: %d %s", token, code, body)
		}
	}
	token, err := enroll.TakeBearer(t.Context(), dir) // the collector has made it
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new token counts", func() bool {
		code, body := get(roots, "/metrics", token)
		return code == http.StatusOK && strings.Contains(body, `fieldpost_collector_certificate_expiry_seconds{certificate="authority"}`) && !strings.Contains(body, token)
	})
}
