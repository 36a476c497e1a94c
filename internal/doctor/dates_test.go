package doctor

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

func boxTemplate() *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp Inspection CA"}, DNSNames: []string{"www.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
}

func TestDates(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	cert := func(from, until time.Duration, ca bool) *x509.Certificate {
		return &x509.Certificate{NotBefore: now.Add(from), NotAfter: now.Add(until), IsCA: ca}
	}
	for _, c := range []struct {
		name   string
		cert   *x509.Certificate
		itself bool
		status Status
		part   string
	}{
		{"fresh", cert(-day, 29*day, false), true, OK, "renewed by itself from 2026-12-11"},
		{"renewal is due", cert(-20*day-time.Hour, 10*day, false), true, OK, "renewed by itself"},
		{"renewal is late", cert(-25*day, 5*day, false), true, Warn, "renewal has been due since"},
		{"short-lived, and late", cert(-50*time.Minute, 10*time.Minute, false), true, Warn, "renewal has been due"},
		{"ended", cert(-40*day, -day, false), true, Fail, "ended at"},
		{"begins later", cert(day, 30*day, false), true, Fail, "begins only at"},
		{"somebody renews it, in time", cert(-day, 89*day, false), false, OK, "good until"},
		{"somebody renews it, or not", cert(-80*day, 10*day, false), false, Warn, "(10 days)"},
		{"an authority", cert(-day, 7000*day, true), false, OK, "good until"},
		{"an authority that ends", cert(-7000*day, 100*day, true), false, Warn, "(100 days)"},
		{"an authority that has ended", cert(-7000*day, -day, true), false, Fail, "new authority"},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, Dates("it", c.cert, now, c.itself), c.status, c.part) })
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(t time.Time) func() time.Time { return func() time.Time { return t } }
	off := func(d time.Duration) func() (time.Duration, bool) {
		return func() (time.Duration, bool) { return d, true }
	}
	for _, c := range []struct {
		name   string
		clock  Clock
		status Status
		parts  []string
	}{
		{"no other clock", Clock{now: at(now)}, OK, []string{"2026-11-22"}},
		{"1970", Clock{now: at(time.Unix(90, 0))}, Fail, []string{"1970-01-01", "has not been set"}},
		{"before the certificate", Clock{now: at(now), NotBefore: now.Add(time.Hour)}, Fail, []string{"were made at 2026-11-22T13"}},
		{"nobody has told", Clock{now: at(now), Offset: func() (time.Duration, bool) { return 0, false }}, OK, []string{"no collector has told"}},
		{"they agree", Clock{now: at(now), Offset: off(-time.Millisecond)}, OK, []string{"1ms ahead of the collector's"}},
		{"seconds off", Clock{now: at(now), Offset: off(4 * time.Second)}, Warn, []string{"4s behind the collector's"}},
		{"minutes off", Clock{now: at(now), Offset: off(-20 * time.Minute)}, Fail, []string{"20m0s ahead of"}},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, one(t, c.clock.right(t.Context())), c.status, c.parts...) })
	}
	jumped := Clock{now: at(now), Jump: jumpOf(3 * time.Hour)}
	if list := jumped.right(t.Context()); len(list) != 2 {
		t.Errorf("%+v", list)
	} else {
		want(t, list[1], Warn, "was set by 3h0m0s")
	}
	want(t, one(t, (&Clock{now: at(now), Jump: jumpOf(time.Second)}).right(t.Context())), OK)
}

func TestTimeService(t *testing.T) {
	kept := func(s syncState, err error) Clock { return Clock{sync: func() (syncState, error) { return s, err }} }
	for _, c := range []struct {
		name   string
		clock  Clock
		status Status
		part   string
	}{
		{"kept", kept(syncState{true, true, "kept"}, nil), OK, "kept"},
		{"not kept", kept(syncState{true, false, "nothing keeps it"}, nil), Warn, "drifts"},
		{"not looked at", kept(syncState{text: "not looked at"}, nil), OK, "not looked at"},
		{"refused", kept(syncState{}, errRefused), Warn, "may not"},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, one(t, c.clock.kept(t.Context())), c.status, c.part) })
	}
	if s, err := syncStatus(); err == nil && s.text == "" {
		t.Errorf("this system: %+v", s)
	}
}

var errRefused = errors.New("adjtimex: may not")

func jumpOf(d time.Duration) func(context.Context) time.Duration {
	return func(context.Context) time.Duration { return d }
}
