package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// MaxRequest is the most bytes a request may have: a message of 1 MiB in JSON
// and base64, with all its headers.
const MaxRequest = 8 << 20

// Refusal is a daemon's no. Code is a word that the command knows, Message is
// for people.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// The codes that this package gives itself.
const (
	CodeBadRequest = "bad-request" // what was asked is not known here: command and daemon differ in version
	CodeFailed     = "failed"      // f returned an error that is no [*Refusal]
)

// Handle makes a handler of f. The request's body, JSON of an In, is f's argument;
// a request without a body gives the zero In. f's result is answered as JSON; so
// is its error, best a [*Refusal]. f may be called concurrently; its context ends
// when the asking side goes away.
func Handle[In, Out any](f func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxRequest))
		if err := body.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
			answer(w, http.StatusBadRequest, &Refusal{CodeBadRequest, "the daemon does not understand the request: " + err.Error()})
			return
		}
		out, err := f(r.Context(), in)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, out)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, fmt.Appendf(nil, `{"code":%q,"message":%q}`, CodeFailed, err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b) // an error here is the asking side's, which sees it as well
}

// Serve answers requests on l with h until ctx ends; it then waits up to grace
// for the answers under way. It closes l and has joined all its goroutines but
// those of handlers that outlast the grace. It returns nil if ctx ended it.
func Serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, ErrorLog: nil}
	s.SetKeepAlivesEnabled(false)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		s.Close()
		return fmt.Errorf("control socket: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if s.Shutdown(wait) != nil {
		s.Close()
	}
	<-ended
	return nil
}
