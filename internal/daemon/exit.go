package daemon

import (
	"errors"

	"github.com/fieldpost/fieldpost/internal/config"
)

// Code is how a command ended, for scripts. From 64 on the numbers are those of
// sysexits.h.
type Code int

// The codes.
const (
	OK          Code = 0  // done
	No          Code = 1  // the answer is no, or it failed
	Usage       Code = 2  // the command line is wrong
	Unreachable Code = 69 // the other side does not answer
	TryLater    Code = 75 // not done and not lost: full, locked, interrupted
	Unknown     Code = 76 // it may or may not have been done
	BadConfig   Code = 78 // the configuration is wrong
)

// CodesHelp lists the codes for a command's help.
const CodesHelp = `Exit codes:
  0   done
  1   the answer is no, or it failed
  2   the command line is wrong
  69  the other side does not answer
  75  not done and not lost, try later: full, in use, interrupted
  76  it may or may not have been done
  78  the configuration is wrong`

// WithCode returns err with the code that the process is to exit with; nil for a
// nil err. An outer code wins over an inner one.
func WithCode(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &coded{code, err}
}

type coded struct {
	code Code
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// CodeOf returns the code for err: the one it was given, BadConfig for
// [config.Problems], OK for nil, else No.
func CodeOf(err error) Code {
	var c *coded
	var problems config.Problems
	switch {
	case err == nil:
		return OK
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &problems):
		return BadConfig
	}
	return No
}
