package doctor

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/internal/pki"
)

// When the end of a certificate is near.
const (
	leafSoon      = 14 * 24 * time.Hour
	authoritySoon = 180 * 24 * time.Hour
)

// Dates judges a certificate's dates at now. One that renews itself is due after two
// thirds of its life, and late soon after that.
func Dates(what string, c *x509.Certificate, now time.Time, renewsItself bool) Finding {
	life := c.NotAfter.Sub(c.NotBefore)
	soon := min(leafSoon, life/4)
	if c.IsCA {
		soon = min(authoritySoon, life/4)
	}
	left := c.NotAfter.Sub(now)
	until := fmt.Sprintf("%s is good until %s (%s)", what, stamp(c.NotAfter), days(left))
	switch {
	case now.Before(c.NotBefore):
		return Bad("set the clock of this machine, or of the one that signed it", "%s begins only at %s, and this machine's clock says %s", what, stamp(c.NotBefore), stamp(now))
	case left <= 0 && c.IsCA:
		return Bad("make a new authority and enrol its agents again; if the clock is wrong, set it", "%s ended at %s", what, stamp(c.NotAfter))
	case left <= 0:
		return Bad("if the clock is right, enrol again or put a new certificate there; an agent also tries to renew it by itself", "%s ended at %s, and this machine's clock says %s", what, stamp(c.NotAfter), stamp(now))
	case renewsItself && now.After(pki.RenewAt(c).Add(life/20)):
		return Doubt("see why it is not renewed: the link, the log, the disk", "%s, and its renewal has been due since %s", until, stamp(pki.RenewAt(c)))
	case left < soon:
		return Doubt("renew it", "%s", until)
	case renewsItself:
		return Good("%s, renewed by itself from %s on", until, stamp(pki.RenewAt(c)))
	}
	return Good("%s", until)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// days prints how long something lasts, roughly.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
