package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A download's answer ends with a trailer that has its outcome, so that one which
// was cut off is never taken for whole.
const (
	trailerResult  = "Fieldpost-Result"
	trailerRefusal = "Fieldpost-Refusal"
)

// patience is how long either side of a stream waits for the other's next bytes.
const patience = time.Minute

// Download asks the daemon that has dir, and copies what it answers to w. The
// result that comes behind that is read into out. The errors are those of [Call],
// and w's; after any of them what was written to w is not to be used.
func Download(ctx context.Context, dir, path string, in any, w io.Writer, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("control %s: %w", path, err)
	}
	conn, end, err := connect(ctx, dir)
	if err != nil {
		return err
	}
	defer end()
	req, err := http.NewRequest(http.MethodPost, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("control %s: %w", path, err)
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return noAnswer(ctx, dir, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return noAnswer(ctx, dir, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusalOf(resp, path)
	}
	from := &failing{r: resp.Body}
	if _, err := io.Copy(w, from); from.err != nil {
		return noAnswer(ctx, dir, from.err)
	} else if err != nil {
		return err
	}
	if text := resp.Trailer.Get(trailerRefusal); text != "" {
		no := &Refusal{}
		if err := unescape(text, no); err != nil {
			return noAnswer(ctx, dir, err)
		}
		return no
	}
	if err := unescape(resp.Trailer.Get(trailerResult), out); err != nil {
		return noAnswer(ctx, dir, err)
	}
	return nil
}

// Upload sends what r has to the daemon that has dir, and reads the answer into
// out. The errors are those of [Call], and r's.
func Upload(ctx context.Context, dir, path string, query url.Values, r io.Reader, out any) error {
	conn, end, err := connect(ctx, dir)
	if err != nil {
		return err
	}
	defer end()
	body := &failing{r: r}
	req, err := http.NewRequest(http.MethodPost, "http://control"+path+"?"+query.Encode(), io.NopCloser(body))
	if err != nil {
		return fmt.Errorf("control %s: %w", path, err)
	}
	req.ContentLength = -1
	req.Close = true
	wrote := make(chan error, 1)
	go func() {
		err := req.Write(conn)
		if body.err != nil {
			conn.Close() // else the daemon waits for the rest
		}
		wrote <- err
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), req) // the daemon may refuse before it has read all
	if err != nil {
		conn.Close()
		if werr := <-wrote; body.err != nil {
			return body.err
		} else if werr != nil {
			err = fmt.Errorf("%w; %w", werr, err)
		}
		return noAnswer(ctx, dir, err)
	}
	defer resp.Body.Close()
	reply, rerr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	conn.Close()
	<-wrote
	switch {
	case body.err != nil:
		return body.err
	case rerr != nil:
		return noAnswer(ctx, dir, rerr)
	case resp.StatusCode != http.StatusOK:
		resp.Body = io.NopCloser(bytes.NewReader(reply))
		return refusalOf(resp, path)
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("%s: the daemon's answer is not understood; its version differs from this command's: %w", dir, err)
	}
	return nil
}

// connect opens a connection that ends with ctx.
func connect(ctx context.Context, dir string) (conn net.Conn, end func(), err error) {
	conn, err = dial(ctx, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}

func noAnswer(ctx context.Context, dir string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause // of the failure
	}
	return fmt.Errorf("%s: %w: %w", dir, ErrNoAnswer, err)
}

// refusalOf reads the answer of a daemon that says no.
func refusalOf(resp *http.Response, path string) error {
	reply, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what is there of it is read
	no := &Refusal{}
	if json.Unmarshal(reply, no) != nil || no.Message == "" {
		no = &Refusal{CodeBadRequest, fmt.Sprintf("the daemon does not know the request %s (status %d); its version differs from this command's", path, resp.StatusCode)}
	}
	return no
}

// failing remembers the error of a reader.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func escape(v any) (string, error) {
	b, err := json.Marshal(v)
	return url.QueryEscape(string(b)), err
}

func unescape(s string, v any) error {
	text, err := url.QueryUnescape(s)
	if err == nil {
		err = json.Unmarshal([]byte(text), v)
	}
	if err != nil {
		return fmt.Errorf("the answer was cut off: %w", err)
	}
	return nil
}

// HandleDownload makes a handler of f, which writes its answer to a writer and
// returns a result that goes behind it. Its error is told also after it has
// written. f's context ends when the asking side goes away.
func HandleDownload[In, Out any](f func(context.Context, In, io.Writer) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxRequest)).Decode(&in); err != nil {
			answer(w, http.StatusBadRequest, &Refusal{CodeBadRequest, "the daemon does not understand the request: " + err.Error()})
			return
		}
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(time.Time{}) // the answer may take long
		body := &lazy{w: w, c: c}
		out, err := f(r.Context(), in, body)
		switch {
		case err == nil:
			body.start()
			text, _ := escape(out)
			w.Header().Set(trailerResult, text)
		case !body.begun:
			refuse(w, err)
		default:
			no := &Refusal{CodeFailed, err.Error()}
			errors.As(err, &no)
			text, _ := escape(no)
			w.Header().Set(trailerRefusal, text)
		}
	})
}

// lazy begins the answer with its first byte.
type lazy struct {
	w     http.ResponseWriter
	c     *http.ResponseController
	begun bool
}

func (l *lazy) start() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Trailer", trailerResult+", "+trailerRefusal)
		l.w.WriteHeader(http.StatusOK)
	}
}

func (l *lazy) Write(p []byte) (int, error) {
	l.start()
	_ = l.c.SetWriteDeadline(time.Now().Add(patience))
	return l.w.Write(p)
}

// HandleUpload makes a handler of f, which reads what is sent. Its result is
// answered as JSON. f's context ends when the asking side goes away.
func HandleUpload[Out any](f func(context.Context, url.Values, io.Reader) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		out, err := f(r.Context(), r.URL.Query(), &waiting{r.Body, c})
		_ = c.SetReadDeadline(time.Time{})
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, out)
	})
}

// waiting waits for each read by itself.
type waiting struct {
	r io.Reader
	c *http.ResponseController
}

func (b *waiting) Read(p []byte) (int, error) {
	_ = b.c.SetReadDeadline(time.Now().Add(patience))
	n, err := b.r.Read(p)
	if err == io.EOF {
		_ = b.c.SetReadDeadline(time.Time{}) // what follows may take long
	}
	return n, err
}

// refuse answers an error.
func refuse(w http.ResponseWriter, err error) {
	var no *Refusal
	if errors.As(err, &no) {
		answer(w, http.StatusConflict, no)
		return
	}
	answer(w, http.StatusInternalServerError, &Refusal{CodeFailed, err.Error()})
}
