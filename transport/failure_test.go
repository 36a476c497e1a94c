package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func TestCauses(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	sys := func(list []syscall.Errno) error { return dial(os.NewSyscallError("connect", list[0])) }
	for _, tt := range []struct {
		err  error
		want Cause
	}{
		{dial(&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}), CauseName},
		{dial(&net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}), CauseName},
		{dial(&net.AddrError{Err: "missing port", Addr: "x"}), CauseName},
		{sys(errnosRoute), CauseRoute},
		{sys(errnosRefused), CauseRefused},
		{sys(errnosTimeout), CauseTimeout},
		{sys(errnosClosed), CauseClosed},
		{dial(os.ErrDeadlineExceeded), CauseTimeout},
		{dial(context.DeadlineExceeded), CauseTimeout},
		{errSilent, CauseTimeout},
		{io.EOF, CauseClosed},
		{io.ErrUnexpectedEOF, CauseClosed},
		{io.ErrClosedPipe, CauseClosed},
		{net.ErrClosed, CauseClosed},
		{&net.OpError{Op: "read", Err: errors.New("what is this")}, CauseClosed},
		{fmt.Errorf("%w: x", wire.ErrFrame), CauseProtocol},
		{dial(os.NewSyscallError("socket", syscall.EMFILE)), CauseLocal},
		{errors.New("what is this"), CauseLocal},
	} {
		f := asFailure(fmt.Errorf("wrapped: %w", tt.err), "doing")
		if f.cause != tt.want || !errors.Is(f, tt.err) {
			t.Errorf("%v: %s, want %s", tt.err, f.cause, tt.want)
		}
		if again := asFailure(fmt.Errorf("more: %w", f), "x"); again != f {
			t.Errorf("%v: classified twice", tt.err)
		}
	}
}

// What the real network says, where it can be had without a network.
func TestCausesOfRealDials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for addr, want := range map[string]Cause{
		closed:               CauseRefused,
		"name.invalid:4717":  CauseName,
		"127.0.0.1:nonsense": CauseName,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := dialTCP(ctx, "tcp", addr)
		cancel()
		if err == nil {
			t.Errorf("%s: no error", addr)
		} else if f := asFailure(err, "dial"); f.cause != want {
			t.Errorf("%s: %s (%v), want %s", addr, f.cause, err, want)
		}
	}
}
