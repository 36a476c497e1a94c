package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/carry"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/internal/durable"
)

// carryRequest asks the daemon for a carry file.
type carryRequest struct {
	Lane string `json:"lane,omitempty"`
	All  bool   `json:"all,omitempty"`
}

func (r carryRequest) options() agent.CarryOptions {
	return agent.CarryOptions{Lane: r.Lane, All: r.All}
}

// receiptRequest brings the daemon a receipt.
type receiptRequest struct {
	Receipt  []byte `json:"receipt"`
	Unsigned bool   `json:"unsigned,omitempty"`
}

// receiptAnswer is what became of it; with an error a part may be done.
type receiptAnswer struct {
	Settled []agent.Settled  `json:"settled"`
	Refusal *control.Refusal `json:"refusal,omitempty"`
}

// addCarry defines what the daemon does where there is no link.
func addCarry(mux *http.ServeMux, a *agent.Agent) {
	mux.Handle("POST /carry", control.HandleDownload(func(ctx context.Context, r carryRequest, w io.Writer) (agent.Carried, error) {
		c, err := a.Carry(ctx, w, r.options())
		return c, refusal(err)
	}))
	mux.Handle("POST /receipt", control.Handle(func(ctx context.Context, r receiptRequest) (receiptAnswer, error) {
		list, err := settle(ctx, a, &r)
		out := receiptAnswer{Settled: list}
		if err != nil && !errors.As(refusal(err), &out.Refusal) {
			out.Refusal = &control.Refusal{Code: control.CodeFailed, Message: err.Error()}
		}
		return out, nil
	}))
}

// carryTo writes the carry file. It has its name once it is whole, on disk and
// read back.
func carryTo(ctx context.Context, c config.Agent, path string, r carryRequest) (done agent.Carried, err error) {
	if _, err := os.Lstat(path); err == nil {
		return done, fmt.Errorf("%s is there already, and may be the only copy of what is in it; name another file", path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return done, withCode(err)
	}
	err = durable.WriteWith(path, 0o600, func(f *os.File) error {
		var err error
		if done, err = carryInto(ctx, c, f, r); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, sum, err := carry.Verify(f, nil); err != nil || sum.File.String() != done.File {
			return fmt.Errorf("what was written does not read back as it should; try another medium: %w", err)
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		err = daemon.WithCode(daemon.TryLater, fmt.Errorf("interrupted, there is no file: %w", err))
	}
	return done, err
}

// carryInto gets the file's content from the daemon that has the folder, or from
// the folder.
func carryInto(ctx context.Context, c config.Agent, w io.Writer, r carryRequest) (done agent.Carried, err error) {
	err = control.Download(ctx, c.Dir, "/carry", r, w, &done)
	if errors.Is(err, control.ErrNoAnswer) {
		return done, daemon.WithCode(daemon.Unreachable, err)
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return done, refused(err)
	}
	err = inFolder(ctx, c, func(a *agent.Agent) error {
		done, err = a.Carry(ctx, w, r.options())
		return err
	})
	return done, err
}

// inFolder opens the agent of a folder that no daemon has, for one step. Its error
// has the exit code.
func inFolder(ctx context.Context, c config.Agent, step func(*agent.Agent) error) error {
	if _, err := agent.ReadStatus(c.Dir); err != nil { // opening would make a folder where there is none
		return withCode(err)
	}
	c.Collectors = nil
	a, err := agent.Open(ctx, library(c, daemon.Logger(os.Stderr, quiet(c.Log))))
	if err != nil {
		return withCode(err)
	}
	return withCode(errors.Join(step(a), a.Close()))
}

// printCarried says what is in a carry file and what to do with it.
func printCarried(w io.Writer, path string, c agent.Carried) error {
	streams := "1 stream"
	if c.Streams > 1 {
		streams = fmt.Sprintf("%d streams", c.Streams)
	}
	_, err := fmt.Fprintf(w, "%s holds %d numbers of %s, %s; bring it to the collector: collector import %s\nNothing is freed until the receipt is here: agent queue receipt %s.receipt\n",
		path, c.Numbers, streams, config.Approximate(uint64(c.Bytes)), path, path)
	return err
}
