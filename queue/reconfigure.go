package queue

import (
	"context"
	"fmt"
	"time"
)

// Reconfigure gives an open lane other settings: those of [Config] but for Dir, Agent,
// Lane, Synced and Logger, which stay what they are. Puts go on meanwhile: each is
// treated by the old settings or by the new ones. What is on disk stays as it is; a
// limit that is lower than what the lane holds makes it full, and drops what the new
// policy drops with the next put or, for MaxAge, at once. Nothing is changed if an
// error is returned that says what is wrong with cfg; the others are [ErrClosed],
// ctx's, and [ErrFull] while it is not known whether the last commit is on disk: with
// those some streams may have the settings already.
func (l *Lane) Reconfigure(ctx context.Context, cfg Config) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return ErrClosed
	}
	cfg.Dir, cfg.Agent, cfg.Lane, cfg.Logger = l.cfg.Dir, l.cfg.Agent, l.cfg.Lane, l.cfg.Logger
	if cfg.LiveFirst < 0 {
		return fmt.Errorf("queue: lane %s: live first after %s, want 0 (never) or more", cfg.Lane, cfg.LiveFirst)
	}
	checked := cfg
	if err := checked.check(); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	l.cfg.take(&cfg)
	l.liveFirst.Store(int64(cfg.LiveFirst))
	for _, s := range l.list() {
		if err := s.q.reconfigure(ctx, checked); err != nil {
			return fmt.Errorf("lane %s: %w", cfg.Lane, err)
		}
	}
	return nil
}

// reconfigure has the writer take other settings between two commits.
func (q *Queue) reconfigure(ctx context.Context, to Config) error {
	if to.FreeSpace == 0 {
		var err error
		if to.FreeSpace, err = defaultFree(q.cfg.Dir); err != nil {
			q.log.Warn("how large the disk is cannot be found out; the lane keeps none of it free", "error", err)
		}
	}
	err := q.do(ctx, func(*change) (bool, error) {
		if q.stuck != nil {
			return false, q.blocked()
		}
		q.mu.Lock()
		q.cfg.take(&to)
		q.copySettings()
		if soon := time.Now().Add(q.cfg.Interval); q.flushAt.After(soon) {
			q.flushAt = soon
		}
		q.tellRoom() // whoever waits asks again, by the new policy
		q.mu.Unlock()
		q.expireAt, q.rotateAt, q.parkedTill = time.Time{}, 0, time.Time{}
		q.looked = time.Time{}
		if q.cfg.FreeSpace <= 0 {
			q.setLow(nil)
		}
		return false, nil
	})
	q.note()
	return err
}

// take takes over the settings that may change.
func (cfg *Config) take(from *Config) {
	cfg.SegmentSize, cfg.LiveFirst, cfg.Codec, cfg.AckDelay = from.SegmentSize, from.LiveFirst, from.Codec, from.AckDelay
	cfg.MaxBytes, cfg.MaxMessages, cfg.MaxAge, cfg.FreeSpace = from.MaxBytes, from.MaxMessages, from.MaxAge, from.FreeSpace
	cfg.Overflow, cfg.Interval = from.Overflow, from.Interval
}

// policy returns the settings as they are now, for those who are not the writer and do
// not hold mu. They must not be changed.
func (q *Queue) policy() *Config { return q.copied.Load() }

// copySettings makes policy return what cfg has now.
func (q *Queue) copySettings() {
	c := q.cfg
	q.copied.Store(&c)
}
