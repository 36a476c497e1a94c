package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

var (
	// ErrNotRunning is returned by Call if no daemon listens in the folder.
	ErrNotRunning = errors.New("no daemon is running there")
	// ErrNoAnswer is returned by Call if the request was handed to the daemon and
	// the answer did not come: it may have been obeyed.
	ErrNoAnswer = errors.New("the daemon has not answered")
)

// maxAnswer bounds what is read of an answer: the status of many thousand agents.
const maxAnswer = 256 << 20

// Call asks the daemon that has dir. in is sent as JSON unless it is nil, the
// answer is read into out unless that is nil. The error is [ErrNotRunning], a
// [*Refusal], [ErrNoAnswer] (also when ctx ends after the request began), or a
// failure to connect.
func Call(ctx context.Context, dir, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("control %s: %w", path, err)
		}
	}
	conn, err := dial(ctx, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	req, err := http.NewRequest(method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("control %s: %w", path, err)
	}
	req.Close = true
	status, reply, err := exchange(conn, req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // of the failure
		}
		return fmt.Errorf("%s: %w: %w", dir, ErrNoAnswer, err)
	}
	if status != http.StatusOK {
		no := &Refusal{}
		if json.Unmarshal(reply, no) != nil || no.Message == "" {
			no = &Refusal{CodeBadRequest, fmt.Sprintf("the daemon does not know the request %s (status %d); its version differs from this command's", path, status)}
		}
		return no
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return fmt.Errorf("%s: the daemon's answer is not understood; its version differs from this command's: %w", dir, err)
	}
	return nil
}

func exchange(conn io.ReadWriter, req *http.Request) (status int, body []byte, err error) {
	if err := req.Write(conn); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}
