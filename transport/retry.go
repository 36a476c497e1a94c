package transport

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/fieldpost/fieldpost/wire"
)

const (
	faultMin       = time.Minute      // first delay after a configuration fault
	faultMax       = 10 * time.Minute // the last
	duplicateDelay = 5 * time.Minute
	enrolDelay     = 30 * time.Second // between looks for a certificate; nothing is dialed, and [Client.Again] ends it
	maxRetryAfter  = time.Hour        // a collector may ask for no more
)

// retry decides when to try again and in which state to wait. It belongs to
// Run's goroutine.
type retry struct {
	cfg      Reconnect
	instance wire.Instance
	random   func(n time.Duration) time.Duration // uniform in [0, n]

	network *backoff.ExponentialBackOff // bounds of the random delay
	fault   *backoff.ExponentialBackOff // delays after a configuration fault
	failed  int                         // attempts in a row
}

func newRetry(cfg Reconnect, instance wire.Instance) *retry {
	return &retry{cfg: cfg, instance: instance, network: exponential(cfg.Min, cfg.Max), fault: exponential(faultMin, faultMax),
		random: uniform(instance)}
}

// uniform returns a source of random delays. Its seed is the random id of the
// process: no two of a fleet have the same.
func uniform(i wire.Instance) func(n time.Duration) time.Duration {
	r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(i.ID[:8]), binary.BigEndian.Uint64(i.ID[8:])))
	return func(n time.Duration) time.Duration { return time.Duration(r.Int64N(int64(n) + 1)) }
}

// exponential returns intervals that double from first to last and never end.
// The jitter is ours: the library's would not reach down to 0.
func exponential(first, last time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMaxInterval(last), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), backoff.WithMaxElapsedTime(0))
}

// reset forgets the failures, after a link that was good for a while.
func (r *retry) reset() {
	r.network.Reset()
	r.fault.Reset()
	r.failed = 0
}

// next takes a failure and returns the state to wait in and for how long.
func (r *retry) next(f *failure) (State, time.Duration) {
	r.failed++
	switch f.cause {
	case CauseStore:
		return DifferentStore, r.spread(r.fault.NextBackOff())
	case CauseNotEnrolled:
		r.failed = 0 // nothing was tried
		return NotEnrolled, r.spread(enrolDelay)
	case CauseVersion, CauseIdentity, CauseRefusedProtocol, CausePlaintext, CauseRevoked, CauseLimit:
		return Refused, r.spread(r.fault.NextBackOff())
	case CauseFenced:
		if by := f.refuse.Instance; !by.IsZero() && by != r.instance {
			return DuplicateIdentity, r.spread(duplicateDelay)
		}
	case CauseBusy, CauseStoreFails:
		if after := min(f.refuse.RetryAfter, maxRetryAfter); after > 0 {
			return Waiting, r.spread(after)
		}
	}
	bound := r.network.NextBackOff()
	if r.slow() {
		return Waiting, r.spread(r.cfg.Slow)
	}
	return Waiting, r.random(bound)
}

// slow reports whether the maximum of attempts is reached.
func (r *retry) slow() bool { return r.cfg.MaxAttempts > 0 && r.failed >= r.cfg.MaxAttempts }

// spread adds up to a tenth, so that a fleet does not come back all at once.
func (r *retry) spread(d time.Duration) time.Duration { return d + r.random(d/10) }
