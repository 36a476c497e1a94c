package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/fieldpost/fieldpost/wire"
)

// failure is why an attempt or a link ended.
type failure struct {
	cause  Cause
	err    error
	refuse *wire.Refuse // what the collector said, nil if it is not that
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failf(cause Cause, format string, args ...any) *failure {
	return &failure{cause: cause, err: fmt.Errorf(format, args...)}
}

// refused turns a collector's refuse frame into a failure. Its message is the
// peer's text, so it is quoted.
func refused(r wire.Refuse) *failure {
	causes := map[wire.RefuseCode]Cause{wire.RefuseVersion: CauseVersion, wire.RefuseIdentity: CauseIdentity,
		wire.RefuseBusy: CauseBusy, wire.RefuseStore: CauseStoreFails, wire.RefuseFenced: CauseFenced,
		wire.RefuseTLS: CausePlaintext, wire.RefuseRevoked: CauseRevoked, wire.RefuseToken: CauseToken, wire.RefuseEnroll: CauseNoEnrolment,
		wire.RefuseLimit: CauseLimit}
	f := failf(CauseRefusedProtocol, "the collector refuses (%.40q): %.500q", string(r.Code), r.Message)
	if c, ok := causes[r.Code]; ok {
		f.cause = c
	}
	f.refuse = &r
	return f
}

// errSilent is the failure of a link on which nothing is answered any more.
var errSilent = errors.New("the collector has answered nothing for two heartbeat intervals")

// asFailure finds the cause of an error of the link.
func asFailure(err error, doing string) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	return &failure{cause: causeOf(err), err: fmt.Errorf("%s: %w", doing, err)}
}

func causeOf(err error) Cause {
	var dns *net.DNSError
	var addr *net.AddrError
	var op *net.OpError
	var no syscall.Errno
	has := func(list []syscall.Errno) bool { return errors.As(err, &no) && slices.Contains(list, no) }
	var timeout net.Error
	switch {
	case errors.As(err, &dns), errors.As(err, &addr):
		return CauseName
	case errors.Is(err, wire.ErrFrame):
		return CauseProtocol
	case has(errnosRoute):
		return CauseRoute
	case has(errnosRefused):
		return CauseRefused
	case has(errnosTimeout), errors.Is(err, errSilent), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return CauseTimeout
	case has(errnosClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return CauseClosed
	case errors.As(err, &op) && op.Op != "dial":
		return CauseClosed // whatever it was, the connection is gone
	}
	return CauseLocal
}
