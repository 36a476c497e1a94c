package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/fieldpost/fieldpost/wire"
)

// What Put, Open and the others can return. Match them with [errors.Is]; the
// text says what happened to what, and what to do next.
var (
	// ErrFull: certainly not stored, because the disk has no room, or because the
	// lane cannot write at the moment. Accepting resumes by itself.
	ErrFull = errors.New("lane is full")

	// ErrDropped: not stored, by a setting that says so; the messages left a
	// tombstone. A queue itself never returns it: the policies above it do.
	ErrDropped = errors.New("message dropped")

	// ErrTooLarge: certainly not stored, a message or a whole Put is above the limit.
	ErrTooLarge = wire.ErrTooLarge

	// ErrClosed: the queue is closed; what was handed in to it is certainly not stored.
	ErrClosed = errors.New("queue is closed")

	// ErrUncertain: the outcome is not known. The messages are stored, or will be,
	// unless the process ends before the disk is well again; sending them again may
	// double them.
	ErrUncertain = errors.New("outcome unknown: the message may be stored")

	// ErrInUse: another process, or another Queue of this one, has the folder open.
	ErrInUse = errors.New("folder is in use")

	// ErrForeign: the folder belongs to another agent or another lane.
	ErrForeign = errors.New("folder belongs to another agent or lane")

	// ErrNotAQueue: the folder is not a lane's.
	ErrNotAQueue = errors.New("not a queue")
)

// uncertain is ErrUncertain with its cause. What is refused because of it is
// refused because of the cause: that is certain.
type uncertain struct{ cause error }

func (e *uncertain) Error() string        { return ErrUncertain.Error() + ": " + e.cause.Error() }
func (e *uncertain) Unwrap() error        { return e.cause }
func (e *uncertain) Is(target error) bool { return target == ErrUncertain }

// damage is a file, or a record in one, that does not read as it was written:
// reading it again gives the same, unlike an error of the system.
type damage struct {
	what  string
	cause error
}

func (d *damage) Error() string { return fmt.Sprintf("%s is damaged: %v", d.what, d.cause) }
func (d *damage) Unwrap() error { return d.cause }

// isDamage reports whether an error from opening or reading a file means that
// its content is bad. An error of the system (no permission, too many open
// files, one read that failed) is not: it is tried again, never written off.
func isDamage(err error) bool {
	var d *damage
	var p *fault
	for _, known := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &d) || errors.As(err, &p) || err != nil && strings.HasPrefix(err.Error(), "file size too small")
}

// isUnreadable reports whether damage is what the system cannot read, rather than
// what reads and is wrong: the next try may succeed.
func isUnreadable(err error) bool {
	var d *damage
	var p *fs.PathError
	return errors.As(err, &d) && errors.As(d.cause, &p)
}

// notStored is the error of a commit of which nothing can be on disk: the pages
// could not be written, and the file's newest transaction is still the one before.
type notStored struct{ cause error }

func (e *notStored) Error() string { return e.cause.Error() }
func (e *notStored) Unwrap() error { return e.cause }

// isWrite reports whether bbolt's error comes from writing pages or growing the
// file, before anything of the transaction could be seen. bbolt gives the latter
// as text only.
func isWrite(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && p.Op == "write" || strings.HasPrefix(err.Error(), "file resize error")
}

// isSpace reports whether a failed write is for want of room: the file itself is
// well and stays in use.
func isSpace(err error) bool {
	return err != nil && (noSpace(err) || strings.HasPrefix(err.Error(), "file resize error"))
}
