package queue

import (
	"context"
	"errors"
	"fmt"
)

// LetterID names a dead letter of a lane. Its text form is the ordinal, or
// "stream.ordinal" for a stream that is not the lane's first.
type LetterID struct {
	Stream  uint64 // 0: the lane's first
	Ordinal uint64 // in it, from 0
}

func (id LetterID) String() string { return pair(id.Stream, id.Ordinal) }

// MarshalText returns the text form.
func (id LetterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *LetterID) UnmarshalText(b []byte) error {
	stream, ordinal, err := parsePair(b)
	if err != nil {
		return fmt.Errorf("dead letter %.40q: want a number, as 7 or 2.7", b)
	}
	*id = LetterID{stream, ordinal}
	return nil
}

// Before reports whether id comes before other in a list.
func (id LetterID) Before(other LetterID) bool {
	return id.Stream < other.Stream || id.Stream == other.Stream && id.Ordinal < other.Ordinal
}

// Letters hands the lane's dead letters to yield, from one on, in the order of
// their names, each once. An error of yield ends it and is returned; so is ctx's.
// What cannot be read now is left out and said in the error.
func (l *Lane) Letters(ctx context.Context, from LetterID, yield func(Letter) error) error {
	var errs []error
	for _, s := range l.numbered() {
		if s.number < from.Stream {
			continue
		}
		first := uint64(0)
		if s.number == from.Stream {
			first = from.Ordinal
		}
		now := s.q.snapshot()
		err := s.q.files.letters(&now, first, handOut(ctx, s.number, yield))
		if stop := (*stopped)(nil); errors.As(err, &stop) {
			return stop.cause
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stopped is what the caller's function has returned.
type stopped struct{ cause error }

func (s *stopped) Error() string { return s.cause.Error() }

func handOut(ctx context.Context, stream uint64, yield func(Letter) error) func(*letter) error {
	return func(l *letter) error {
		err := ctx.Err()
		var out Letter
		if err == nil {
			out, err = l.export(stream)
		}
		if err == nil {
			err = yield(out)
		}
		if err != nil {
			return &stopped{err}
		}
		return nil
	}
}

// Retry puts dead letters once more as new messages, and forgets them. Those of
// one stream go together, all or none, in one transaction: none is lost or
// doubled by a crash. They come last in the stream in which they were refused,
// with the time that they had.
//
// Errors: [ErrNoLetter], then nothing of that stream was done; those of Put, but
// a lane that is full refuses whatever its policy. Streams before the one that
// failed have been done.
func (l *Lane) Retry(ctx context.Context, ids ...LetterID) error {
	return l.eachStream(ids, func(q *Queue, ordinals []uint64) error { return q.putAgain(ctx, ordinals) })
}

// Discard forgets dead letters for good. The errors are those of Retry.
func (l *Lane) Discard(ctx context.Context, ids ...LetterID) error {
	return l.eachStream(ids, func(q *Queue, ordinals []uint64) error { return q.discard(ctx, ordinals) })
}

func (l *Lane) eachStream(ids []LetterID, f func(*Queue, []uint64) error) error {
	byStream := map[uint64][]uint64{}
	for _, id := range ids {
		byStream[id.Stream] = append(byStream[id.Stream], id.Ordinal)
	}
	list := l.numbered()
	for number, ordinals := range byStream {
		known := false
		for _, s := range list {
			known = known || s.number == number
		}
		if !known {
			return fmt.Errorf("%w: %s", ErrNoLetter, LetterID{number, ordinals[0]})
		}
	}
	for _, s := range list {
		if ordinals := byStream[s.number]; len(ordinals) > 0 {
			if err := f(s.q, ordinals); err != nil {
				return fmt.Errorf("lane %s, stream %d: %w", l.cfg.Lane, s.number, err)
			}
		}
	}
	return nil
}

// ReadLetters is [Lane.Letters] for a lane that no process has open. It changes
// nothing in the folder. The errors are also those of [ReadStats].
func ReadLetters(ctx context.Context, dir string, from LetterID, yield func(Letter) error) error {
	numbers, err := readStreams(dir)
	if err != nil {
		return fmt.Errorf("queue %s: %w", dir, err)
	}
	var errs []error
	for _, n := range append([]uint64{0}, numbers...) {
		if n < from.Stream {
			continue
		}
		first, folder := uint64(0), dir
		if n == from.Stream {
			first = from.Ordinal
		}
		if n > 0 {
			folder = streamDir(dir, n)
		}
		err := readLettersAtRest(folder, first, handOut(ctx, n, yield))
		if stop := (*stopped)(nil); errors.As(err, &stop) {
			return stop.cause
		}
		if err != nil && !(n > 0 && errors.Is(err, ErrNotAQueue)) {
			errs = append(errs, fmt.Errorf("queue %s: %w", folder, err))
		}
	}
	return errors.Join(errs...)
}
