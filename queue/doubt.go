package queue

import (
	"errors"
	"time"
)

// settle gives the outcome of a rotation its meaning.
func (q *Queue) settle(c *change, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUncertain):
		return q.doubt(c, err)
	}
	return q.fail(err)
}

// fail notes why nothing is accepted, and returns ErrFull with it.
func (q *Queue) fail(cause error) error {
	cause = advise(q.cfg.Dir, cause)
	q.mu.Lock()
	first := q.failing == nil
	q.failing = cause
	q.mu.Unlock()
	if first {
		q.log.Error("nothing can be stored at the moment", "error", cause)
	}
	return errFull(cause)
}

// doubt keeps a change whose outcome is not known: its numbers stay taken, and
// it goes to disk before anything else (rule 5).
func (q *Queue) doubt(c *change, cause error) error {
	q.doubted = true
	if q.stuck == nil {
		q.backoff = firstBackoff
	}
	q.stuck, q.retryAt = c, time.Now().Add(q.backoff)
	u, ok := cause.(*uncertain)
	if !ok {
		u = &uncertain{cause}
	}
	q.fail(u.cause)
	return u
}

// retry tries once more to store what is uncertain, in a new file.
func (q *Queue) retry() {
	c := q.stuck
	c.spares = false
	if err := q.rotate(c); err != nil {
		q.backoff = min(2*q.backoff, lastBackoff)
		q.retryAt = time.Now().Add(q.backoff)
		q.doubt(c, err)
		return
	}
	q.stuck = nil
	q.log.Info("what was uncertain is stored", "messages", c.state.next-c.first(), "next", c.state.next)
}
