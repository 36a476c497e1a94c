package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/collector/enroll"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/doctor"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// listening asks the collector that has a folder where it listens for agents.
func listening(ctx context.Context, dir string) (addr string, err error) {
	err = control.Call(ctx, dir, http.MethodGet, "/listen", nil, &addr)
	return addr, err
}

// listenCheck looks whether agents find the collector where it is to be.
func (e *examination) listenCheck() doctor.Check {
	return doctor.Check{Group: "network", Name: "listen", Time: 12 * time.Second, Run: func(ctx context.Context) []doctor.Finding {
		addr, err := e.listening()
		switch {
		case errors.Is(err, control.ErrNotRunning):
			return append(doctor.CanListen(e.cfg.Listen), e.reach(e.cfg.Listen))
		case errors.Is(err, fs.ErrPermission):
			return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not ask the collector")}
		case err != nil:
			return []doctor.Finding{doctor.Bad("see daemon", "%v", err)}
		}
		if err := e.answers(ctx, addr); err != nil {
			return []doctor.Finding{doctor.Bad("look at the collector's log, at its descriptors, and whether it hangs", "it listens on %s, and does not answer there: %v", addr, err)}
		}
		list := []doctor.Finding{doctor.Good("agents are taken on %s", addr)}
		if !sameAddress(addr, e.cfg.Listen) {
			list[0] = doctor.Doubt("restart the collector, if the configuration is right", "it listens on %s, and is configured for %s", addr, e.cfg.Listen)
		}
		return append(list, e.reach(addr))
	}}
}

// answers connects as an agent would.
func (e *examination) answers(ctx context.Context, addr string) error {
	if !e.cfg.Plaintext {
		_, err := e.shown()
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", doctor.Dialable(addr))
	if err != nil {
		return err
	}
	return conn.Close()
}

// reach says who can come to an address, and how safely.
func (e *examination) reach(addr string) doctor.Finding {
	switch local := config.IsLocal(addr); {
	case local:
		return doctor.Good("agents of this machine alone, or through a tunnel or proxy here, can reach it").For("who")
	case e.cfg.Plaintext:
		return doctor.Bad("leave insecure_plaintext out and enrol the agents", "links are plain TCP, and other machines can reach it: whoever is on the way can read and change messages, and speak for any agent").For("who")
	}
	return doctor.Good("agents of other machines can reach it, with a certificate").For("who")
}

// sameAddress reports whether a collector that is configured for one address may be
// listening on another: names and "any port" cannot be told.
func sameAddress(is, configured string) bool {
	ih, ip, err := net.SplitHostPort(is)
	ch, cp, cerr := net.SplitHostPort(configured)
	if err != nil || cerr != nil {
		return true
	}
	if cp != "0" && ip != cp {
		return false
	}
	a, b := net.ParseIP(ih), net.ParseIP(ch)
	return b == nil || a == nil || a.Equal(b) || b.IsUnspecified() && a.IsUnspecified()
}

// pagesCheck looks who can see health and metrics.
func (e *examination) pagesCheck() doctor.Check {
	return doctor.Check{Group: "network", Name: "pages", Time: 8 * time.Second, Needs: []string{"folder"}, Run: func(ctx context.Context) []doctor.Finding {
		addr := e.cfg.HTTP
		switch {
		case addr == "":
			return []doctor.Finding{doctor.Good("none are served")}
		case !config.IsLocal(addr) && e.cfg.Plaintext:
			return []doctor.Finding{doctor.Bad("leave insecure_plaintext out, or use 127.0.0.1:PORT", "%s: other machines would see them without TLS", addr)}
		case !config.IsLocal(addr) && !there(filepath.Join(e.cfg.Dir, "tls", "http-token.json")):
			return []doctor.Finding{doctor.Doubt("start the collector once, or: collector token http makes one", "%s: other machines need a bearer token to see them, and there is none", addr)}
		}
		who := "this machine alone sees them"
		if !config.IsLocal(addr) {
			who = "other machines see them with TLS and the bearer token"
		}
		if _, err := e.about(); errors.Is(err, control.ErrNotRunning) {
			list := doctor.CanListen(addr)
			list[0].Text += "; " + who
			return list
		}
		if _, port, err := net.SplitHostPort(addr); err == nil && port != "0" {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", doctor.Dialable(addr))
			if err != nil {
				return []doctor.Finding{doctor.Doubt("restart the collector with this configuration", "nothing answers on %s: %v", addr, err)}
			}
			conn.Close()
		}
		return []doctor.Finding{doctor.Good("%s: %s", addr, who)}
	}}
}

// authority returns what the collector shows agents and who has signed it, as its files
// say: of its own authority there is no certificate of the collector, that is made as
// it starts.
func (e *examination) authority() (leaf, ca *x509.Certificate, err error) {
	if e.cfg.TLS.Given() {
		l, err := pki.Files{Cert: e.cfg.TLS.Cert, Key: e.cfg.TLS.Key, CA: e.cfg.TLS.CA}.Load()
		if err != nil {
			return nil, nil, err
		}
		return l.Cert.Leaf, l.CAs[0], nil
	}
	if _, err := enroll.Open(enroll.Options{Dir: e.cfg.Dir}); err != nil { // also whether its key is there
		return nil, nil, err
	}
	b, err := os.ReadFile(filepath.Join(e.cfg.Dir, "tls", "ca.pem"))
	if err != nil {
		return nil, nil, err
	}
	certs, err := pki.ParseCerts(b)
	if err != nil {
		return nil, nil, err
	}
	return nil, certs[0], nil
}

// certificateCheck looks at what the collector shows agents, and for how long it is
// good.
func (e *examination) certificateCheck() doctor.Check {
	return doctor.Check{Group: "security", Name: "certificate", Needs: []string{"folder"}, Time: 12 * time.Second, Run: func(context.Context) []doctor.Finding {
		if e.cfg.Plaintext {
			return []doctor.Finding{doctor.Good("none is needed: links are plain TCP by insecure_plaintext")}
		}
		leaf, ca, err := e.authority()
		switch {
		case errors.Is(err, enroll.ErrNone):
			return []doctor.Finding{doctor.Doubt("start the collector once: it makes them", "there are no certificates yet")}
		case errors.Is(err, fs.ErrPermission):
			return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not read the certificates")}
		case err != nil:
			return []doctor.Finding{doctor.Bad("mend or replace the file; the folder tls may be restored from a copy", "%v", err)}
		}
		now := time.Now()
		own := leaf == nil
		var list []doctor.Finding
		if shown, err := e.shown(); err == nil {
			leaf = shown
		} else if !errors.Is(err, control.ErrNotRunning) {
			list = append(list, doctor.Doubt("look at the collector's log", "what it shows agents could not be seen: %v", err))
		}
		if leaf != nil {
			list = append(list, doctor.Dates("the collector's certificate", leaf, now, own), dialled(leaf, own))
		}
		return append(list, doctor.Dates("the authority "+ca.Subject.CommonName, ca, now, false).For("authority"))
	}}
}

// dialled judges the names of a certificate: agents that were enrolled look for one name
// whatever address they dial, others for the address that they dial.
func dialled(leaf *x509.Certificate, own bool) doctor.Finding {
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	text := config.Printable(strings.Join(names, ", "))
	switch {
	case own && leaf.VerifyHostname(pki.ServerName) != nil:
		return doctor.Bad("restart the collector", "it is for %s, and not for %s, which enrolled agents look for", text, pki.ServerName).For("names")
	case own:
		return doctor.Good("for %s, whatever address enrolled agents dial; the pages also for %s", pki.ServerName, text).For("names")
	case len(names) == 0:
		return doctor.Bad("have one made with subject alternative names: a common name alone counts nowhere any more", "it is for no name and no address").For("names")
	}
	return doctor.Good("for %s: agents have to dial one of these, or have tls.server_name", text).For("names")
}

// showing returns the certificate that the collector at an address shows.
func showing(ctx context.Context, addr string) (*x509.Certificate, error) {
	// Who asks to enrol needs no certificate of its own; what is shown is looked at,
	// not trusted.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{wire.ProtocolEnroll}}}
	conn, err := d.DialContext(ctx, "tcp", doctor.Dialable(addr))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	certs := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s shows no certificate", addr)
	}
	return certs[0], nil
}
