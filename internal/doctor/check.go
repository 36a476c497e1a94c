package doctor

import (
	"context"
	"fmt"
	"time"
)

// Status is how a check ended.
type Status int

// The statuses, from good to bad.
const (
	OK Status = iota
	Warn
	Fail
)

var statusWords = [...]string{"ok", "warn", "fail"}

// String returns ok, warn or fail.
func (s Status) String() string {
	if s < OK || s > Fail {
		return fmt.Sprintf("status %d", int(s))
	}
	return statusWords[s]
}

// MarshalText returns the word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (s *Status) UnmarshalText(b []byte) error {
	for i, w := range statusWords {
		if string(b) == w {
			*s = Status(i)
			return nil
		}
	}
	return fmt.Errorf("%.20q is no status: want ok, warn or fail", b)
}

// Finding is one line of what a check found.
type Finding struct {
	Status Status
	About  string // what it is about, if a check looks at several: a lane, a certificate; "": the check's
	Text   string // what is so
	Next   string // what to do next; "" if it is well

	// Blind: it could not be looked at, so what needs it cannot be either.
	Blind bool

	// Detail is more that people at this machine should see, and nobody else:
	// it may quote the configuration. A bundle does not have it.
	Detail string
}

// Good returns a finding that all is well.
func Good(format string, args ...any) Finding {
	return Finding{Status: OK, Text: fmt.Sprintf(format, args...)}
}

// Doubt returns a warning with the next step.
func Doubt(next, format string, args ...any) Finding {
	return Finding{Status: Warn, Text: fmt.Sprintf(format, args...), Next: next}
}

// Bad returns a failure with the next step.
func Bad(next, format string, args ...any) Finding {
	return Finding{Status: Fail, Text: fmt.Sprintf(format, args...), Next: next}
}

// Unseen returns a warning that something could not be looked at, with the next step.
func Unseen(next, format string, args ...any) Finding {
	f := Doubt(next, format, args...)
	f.Blind = true
	return f
}

// For returns f as being about something.
func (f Finding) For(about string) Finding {
	f.About = about
	return f
}

// Check is one thing to look at.
type Check struct {
	Group string // under which it is shown
	Name  string // one word, the same in every run
	About string // what it looks at, if there are several of its name: an address

	Time  time.Duration // it may take; 0: 5 s
	After []string      // keys of checks that must have ended before, whatever they found
	Needs []string      // keys of checks that must have ended, seen something and not failed

	// Run looks. It must heed its context; if it does not, it is left alone, so it must
	// not write to what others read without a lock. No findings: all is well.
	Run func(ctx context.Context) []Finding
}

// Key names the check among others.
func (c *Check) Key() string { return Key(c.Name, c.About) }

// Key is the key of a check with that name and subject.
func Key(name, about string) string {
	if about == "" {
		return name
	}
	return name + " " + about
}

// checkTime is how long a check may take that says nothing else.
const checkTime = 5 * time.Second
