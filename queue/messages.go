package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// MessageID names a message of a lane. Its text form is the number, or
// "stream.number" for a stream that is not the lane's first.
type MessageID struct {
	Stream uint64 // 0: the lane's first
	Number wire.Seq
}

func (id MessageID) String() string { return pair(id.Stream, uint64(id.Number)) }

// MarshalText returns the text form.
func (id MessageID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *MessageID) UnmarshalText(b []byte) error {
	stream, number, err := parsePair(b)
	if err != nil {
		return fmt.Errorf("message %.40q: want a number, as 7 or 2.7", b)
	}
	*id = MessageID{stream, wire.Seq(number)}
	return nil
}

// pair is how people name something of a stream.
func pair(stream, n uint64) string {
	if stream == 0 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("%d.%d", stream, n)
}

func parsePair(b []byte) (stream, n uint64, err error) {
	first, second, two := strings.Cut(string(b), ".")
	if !two {
		first, second = "0", first
	}
	stream, err = strconv.ParseUint(first, 10, 64)
	n, err2 := strconv.ParseUint(second, 10, 64)
	if err = errors.Join(err, err2); err == nil && pair(stream, n) != string(b) {
		err = strconv.ErrSyntax
	}
	return stream, n, err
}

// Item is what stands at some numbers of a stream: a message; or, with a Reason,
// the tombstone of dropped ones; or, with Trouble, what cannot be read now.
type Item struct {
	ID      MessageID  // of the first number
	To      wire.Seq   // the last one; of a message the same
	Epoch   wire.Epoch // of the stream
	Acked   bool       // a store has acked all of it
	Message wire.Message

	Reason wire.Reason // of a tombstone, 0 if it is none
	Time   time.Time   // of the drop
	Detail string

	Trouble error // why it cannot be read, nil if it can
}

// item makes an Item of a part.
func (v *view) item(p part) Item {
	it := Item{ID: MessageID{v.number, p.from}, To: p.to, Epoch: v.state.epoch, Acked: p.to <= v.settled, Trouble: p.err}
	switch {
	case p.tomb != nil:
		it.Reason, it.Time, it.Detail = p.tomb.reason, p.tomb.time, p.tomb.detail
	case p.err == nil:
		it.Message, it.Trouble = p.record.Message()
	}
	return it
}

// items hands what the stream has from number n on to yield, which owns what it
// gets; without acked only what no store has acked, and what a store that was set
// back lacks. An error of yield, or of ctx, comes back as a [*stopped].
func (v *view) items(ctx context.Context, q *Queue, n wire.Seq, acked bool, yield func(Item) error) error {
	if !acked {
		n = max(n, v.settled+1)
	}
	err := v.walk(ctx, q, n, func(p part) error { return yield(v.item(p)) })
	if err != nil {
		return &stopped{err}
	}
	return nil
}

// Messages hands what the lane holds to yield, from one place on, stream by stream in
// the order of their numbers, each in order: messages, and for what is dropped or cannot be read an [Item] that says
// so. Without acked it leaves out what a store has acked; with it that is handed
// out too, as far as it is still on disk. It shows synced state only, and changes
// nothing. What is put meanwhile may be missing, what is acked meanwhile be there.
//
// An error of yield ends it and is returned; so is ctx's.
func (l *Lane) Messages(ctx context.Context, from MessageID, acked bool, yield func(Item) error) error {
	for _, s := range l.numbered() {
		if s.number < from.Stream {
			continue
		}
		v := s.q.view(s.number)
		err := v.items(ctx, s.q, from.in(s.number), acked, yield)
		v.close()
		if stop := (*stopped)(nil); errors.As(err, &stop) {
			return stop.cause
		}
	}
	return nil
}

// in returns the number to begin with in a stream that is not before id's.
func (id MessageID) in(stream uint64) wire.Seq {
	if id.Stream == stream {
		return id.Number
	}
	return 0
}

// ReadMessages is [Lane.Messages] for a lane that no process has open; of cfg it
// needs Dir, Agent and Lane. It changes nothing in the folder. What is wrong with
// files is said in the error, beside what yield returned if it ended it, and does not
// keep it from going on. Other errors: [ErrInUse], [ErrNotAQueue].
func ReadMessages(ctx context.Context, cfg Config, from MessageID, acked bool, yield func(Item) error) error {
	return eachAtRest(&cfg, func(v *view) error {
		if v.number < from.Stream {
			return nil
		}
		return v.items(ctx, nil, from.in(v.number), acked, yield)
	})
}

// eachAtRest calls f with each stream of a lane that no process has open, in the order
// of their numbers. Its error says what is wrong with files, besides what f returns; a
// [*stopped] of f ends it, and its cause is in the error.
func eachAtRest(cfg *Config, f func(*view) error) error {
	numbers, err := readStreams(cfg.Dir)
	var errs []error
	if err != nil {
		errs = append(errs, fmt.Errorf("queue %s: %w", cfg.Dir, err))
	}
	for _, n := range append([]uint64{0}, numbers...) {
		dir := cfg.Dir
		if n > 0 {
			dir = streamDir(cfg.Dir, n)
		}
		v, err := viewAtRest(cfg, dir, n)
		if err == nil {
			err = f(v)
			v.close()
			for _, text := range v.damage {
				errs = append(errs, fmt.Errorf("queue %s: %s", dir, text))
			}
		}
		if stop := (*stopped)(nil); errors.As(err, &stop) {
			return errors.Join(append(errs, stop.cause)...)
		}
		if err != nil && !(n > 0 && errors.Is(err, ErrNotAQueue)) {
			errs = append(errs, fmt.Errorf("queue %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}
