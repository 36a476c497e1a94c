package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/transport"
)

const (
	lookEvery    = 5 * time.Second // at the certificate: the clock may be set, the files replaced
	awaitEvery   = time.Second     // for the first one
	slowestRetry = 10 * time.Minute
	fastestRetry = time.Second

	warnBefore  = 14 * 24 * time.Hour // of the certificate's end
	errorBefore = 3 * 24 * time.Hour
)

// keeper renews an agent's certificate, tells the link when there is another one,
// and says when it is about to expire.
type keeper struct {
	*Agent
	current *pki.Loaded
	delay   time.Duration // behind the time of renewal, so that agents that were enrolled together do not come together
	retry   time.Time     // not earlier, after a failure
	said    time.Time     // when the end was last spoken of
}

// keep is the keeper's work, until ctx ends.
func (a *Agent) keep(ctx context.Context) {
	k := &keeper{Agent: a}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		k.look(ctx, time.Now())
		every := lookEvery
		if k.current == nil {
			every = awaitEvery
		}
		timer.Reset(every)
	}
}

// look takes another certificate, and renews it if it is due.
func (k *keeper) look(ctx context.Context, now time.Time) {
	l, err := k.creds.load()
	if err != nil { // the link says so
		return
	}
	life := l.Cert.Leaf.NotAfter.Sub(l.Cert.Leaf.NotBefore)
	if l != k.current {
		k.current, k.retry, k.delay = l, time.Time{}, rand.N(life/50+1)
		k.link.Again()
	}
	k.warn(l.Cert.Leaf.NotAfter, life, now)
	if !k.creds.own || now.Before(pki.RenewAt(l.Cert.Leaf).Add(k.delay)) || now.Before(k.retry) {
		return
	}
	err = k.renew(ctx, l)
	if err == nil || ctx.Err() != nil {
		return
	}
	k.renewErr.Store(&err)
	most := min(slowestRetry, max(fastestRetry, life/60))
	k.retry = time.Now().Add(most/2 + rand.N(most))
	k.cfg.Logger.Warn("the certificate could not be renewed, it is tried again", "not_after", l.Cert.Leaf.NotAfter, "error", err)
}

// renew gets a new certificate for a new key, with the present one, which may have
// expired, from the first collector that gives one.
func (a *Agent) renew(ctx context.Context, l *pki.Loaded) error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range a.terms.Load().cfg.Collectors {
		c, err := a.creds.settings(addr)
		if err == nil {
			leaf, rerr := request(ctx, requestConfig{id: a.id, dir: a.cfg.Dir, addr: addr, key: key, software: a.cfg.Software, dial: a.cfg.Dial, tls: c})
			if rerr == nil {
				a.creds.source.Forget()
				a.renewErr.Store(nil)
				a.cfg.Logger.Info("the certificate was renewed", "not_after", leaf.NotAfter, "was", l.Cert.Leaf.NotAfter)
				return nil
			}
			err = rerr
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// warn says once a day that the certificate expires: 14 days before, an error
// from 3 days on. One that renews itself has missed its time by then, if it lives
// for months; a shorter one is spoken of in the last quarter of its life.
func (k *keeper) warn(end time.Time, life time.Duration, now time.Time) {
	warn, alarm := warnBefore, errorBefore
	if k.creds.own {
		warn, alarm = min(warn, life/4), min(alarm, life/10)
	}
	left := end.Sub(now)
	if left > warn || now.Sub(k.said) < min(24*time.Hour, life/20) {
		return
	}
	k.said = now
	msg, next := "the certificate expires soon", "renew it: its files are read again by themselves"
	if k.creds.own {
		next = "see why it could not be renewed; without a certificate messages are kept and not delivered"
	}
	if left <= 0 {
		msg = "the certificate has expired"
	}
	log := k.cfg.Logger.Warn
	if left <= alarm {
		log = k.cfg.Logger.Error
	}
	log(msg, "not_after", end, "days", int(left/(24*time.Hour)), "next", next)
}

// security is what links are secured with, for the status.
func (a *Agent) security(s *LinkStatus) {
	if a.creds == nil {
		s.Security = Plaintext
		return
	}
	s.Security = Encrypted
	if l, err := a.creds.load(); err == nil {
		s.CertificateEnds = l.Cert.Leaf.NotAfter
		s.CertificateDays = Days(time.Until(s.CertificateEnds))
	} else if !errors.Is(err, transport.ErrNotEnrolled) {
		s.CertificateError = err.Error()
	}
	if err := a.renewErr.Load(); err != nil {
		s.CertificateError = "not renewed: " + (*err).Error()
	}
}
