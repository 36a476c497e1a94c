package wire

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// ID is a random 128-bit identifier. Its text form is 32 lower-case hex digits.
// The zero ID names nothing.
type ID [16]byte

// NewID returns a fresh random ID.
func NewID() ID {
	var id ID
	rand.Read(id[:]) // never fails: crypto/rand aborts the process instead
	return id
}

// ParseID reads the text form of an ID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("id %.40q: want %d hex digits, have %d characters", s, 2*len(id), len(s))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id.String() != s {
		return ID{}, fmt.Errorf("id %q: want lower-case hex digits", s)
	}
	return id, nil
}

// String returns the text form.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText returns the text form, "" for the zero ID.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return hex.AppendEncode(nil, id[:]), nil
}

// UnmarshalText is the reverse of MarshalText.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	got, err := ParseID(string(b))
	if err == nil && got.IsZero() {
		err = fmt.Errorf("id %s names nothing", got)
	}
	if err != nil {
		return err
	}
	*id = got
	return nil
}

// Epoch names one line of history of a lane. A fresh lane makes one, a fork
// makes another.
type Epoch struct{ ID }

// Incarnation is made each time a lane is opened for appending; only that
// opening writes under it.
type Incarnation struct{ ID }

// StoreID names what a collector makes durable before it acks.
type StoreID struct{ ID }

// Instance names one run of an agent process, from open to close.
type Instance struct{ ID }

// Seq is a message's number within its stream. Numbers start at 1 and never
// skip; 0 stands for "none" or "before the first".
type Seq uint64

// MaxSeq is the largest number, so that the number after it is one as well. At a
// million messages a second a stream reaches it in 292,000 years: whoever names a
// larger one is broken or lies.
const MaxSeq Seq = 1<<63 - 1

// String returns the number in decimal.
func (n Seq) String() string { return strconv.FormatUint(uint64(n), 10) }

// AgentID is the name of an agent. Two agents never share one.
type AgentID string

// ParseAgentID checks that s is a valid agent id; see [CheckName].
func ParseAgentID(s string) (AgentID, error) {
	if err := CheckName("agent id", s); err != nil {
		return "", err
	}
	return AgentID(s), nil
}

// UnmarshalText makes every decoded agent id a checked one.
func (a *AgentID) UnmarshalText(b []byte) (err error) { *a, err = ParseAgentID(string(b)); return err }

// Lane is the name of a durable first-in-first-out queue of an agent.
type Lane string

// DefaultLane always exists.
const DefaultLane Lane = "default"

// ParseLane checks that s is a valid lane name; see [CheckName].
func ParseLane(s string) (Lane, error) {
	if err := CheckName("lane", s); err != nil {
		return "", err
	}
	return Lane(s), nil
}

// UnmarshalText makes every decoded lane a checked one.
func (l *Lane) UnmarshalText(b []byte) (err error) { *l, err = ParseLane(string(b)); return err }

// ErrName is what the error of a name that is none is; see [CheckName].
var ErrName = errors.New("bad name")

// CheckName reports an error, which is [ErrName], unless s is 1 to 64 characters
// of [A-Za-z0-9._-]. what names the thing in the error. The names "." and ".."
// are refused as well, because names become parts of paths.
func CheckName(what, s string) error {
	if s == "" || len(s) > MaxName {
		return fmt.Errorf("%w: %s %.80q: want 1 to %d characters, have %d bytes", ErrName, what, s, MaxName, len(s))
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("%w: %s %q: character %d is not one of A-Z a-z 0-9 . _ -", ErrName, what, s, i+1)
		}
	}
	if s == "." || s == ".." {
		return fmt.Errorf("%w: %s %q: reserved", ErrName, what, s)
	}
	return nil
}
