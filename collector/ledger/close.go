package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Claim says which numbers an operator can accept as they are.
type Claim uint8

// The claims.
const (
	ClaimUnexplained Claim = 1 // announced, settled in no stream, and not with the agent (rule 11)
	ClaimLost        Claim = 2 // declared lost-at-store by the agent (rule 3)
	ClaimMissing     Claim = 3 // settled by a record that is not there any more
)

var claimNames = map[Claim]string{ClaimUnexplained: "unexplained", ClaimLost: "lost-at-store", ClaimMissing: "missing"}

// String returns the claim's name.
func (c Claim) String() string {
	if s, ok := claimNames[c]; ok {
		return s
	}
	return fmt.Sprintf("claim-%d", uint8(c))
}

// MarshalText returns the claim's name.
func (c Claim) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (c *Claim) UnmarshalText(b []byte) error {
	for n, s := range claimNames {
		if s == string(b) {
			*c = n
			return nil
		}
	}
	return fmt.Errorf("unknown claim %.40q", b)
}

// Accepted is a range of numbers that an operator has accepted. Unexplained ones
// are told by their incarnation, the others by their epoch.
type Accepted struct {
	Claim       Claim            `json:"claim"`
	Lane        wire.Lane        `json:"lane"`
	Epoch       wire.Epoch       `json:"epoch,omitzero"`
	Incarnation wire.Incarnation `json:"incarnation,omitzero"`
	From        wire.Seq         `json:"from"`
	To          wire.Seq         `json:"to"`
}

// Closing is the event of an operator who accepts numbers: audit does not fail
// for them any more.
type Closing struct {
	Time   time.Time  `json:"time"`
	By     string     `json:"by"`     // who
	Reason string     `json:"reason"` // and why
	Ranges []Accepted `json:"ranges"`
}

// OK reports whether r is a range of a claim that is known here.
func (r *Accepted) OK() bool { return r.From > 0 && r.To >= r.From && claimNames[r.Claim] != "" }

// Limits of closings.
const (
	MaxCloseText = 1024 // bytes of By and of Reason
	MaxAccepted  = 1000 // ranges in one closing
	maxClosings  = 1000 // of an agent
)

// ErrClosings is returned for one closing too many.
var ErrClosings = errors.New("too many closings")

// Close decides on a closing: the event has what of c can be accepted now and is
// not accepted yet, in order. If nothing remains the event is empty and must not
// be applied.
func (a *Agent) Close(c Closing) (Closing, error) {
	if len(c.Ranges) > MaxAccepted {
		return c, fmt.Errorf("%w: %d ranges at once, the limit is %d", ErrClosings, len(c.Ranges), MaxAccepted)
	}
	var open []Accepted
	for _, r := range c.Ranges {
		switch s := a.Stream(r.Lane, r.Epoch); {
		case !r.OK():
			return c, fmt.Errorf("close: %d to %d, %s, is no range", r.From, r.To, r.Claim)
		case r.Claim != ClaimUnexplained && (s == nil || r.To > s.W):
			return c, fmt.Errorf("close: lane %s, epoch %s does not go up to %d", r.Lane, r.Epoch, r.To)
		case r.Claim != ClaimUnexplained:
			open = append(open, a.NotClosed(r)...)
			continue
		}
		for _, u := range a.Unexplained() {
			if o := r; u.Lane == r.Lane && u.Incarnation == r.Incarnation && u.From <= r.To && u.To >= r.From {
				o.From, o.To = max(u.From, r.From), min(u.To, r.To)
				open = append(open, o)
			}
		}
	}
	c.Ranges = open
	if len(open) > 0 && len(a.closings) >= maxClosings {
		return c, fmt.Errorf("%w: %d already", ErrClosings, len(a.closings))
	}
	return c, nil
}

// ApplyClose notes that an operator has accepted numbers.
func (a *Agent) ApplyClose(c Closing) {
	a.closings = append(slices.Clip(a.closings), c)
}

// Closings returns what operators have accepted, oldest first. The slice is the
// caller's, what is in it must not be changed.
func (a *Agent) Closings() []Closing { return slices.Clone(a.closings) }

// Closing returns the closing that has accepted number n of a claim, nil if there
// is none. It must not be changed.
func (a *Agent) Closing(of Accepted, n wire.Seq) *Closing {
	for i := range a.closings {
		for _, r := range a.closings[i].Ranges {
			if r.About(&of) && r.From <= n && n <= r.To {
				return &a.closings[i]
			}
		}
	}
	return nil
}

// About reports whether both are of one claim and one line of numbers.
func (r *Accepted) About(o *Accepted) bool {
	if r.Claim != o.Claim || r.Lane != o.Lane {
		return false
	}
	if r.Claim == ClaimUnexplained {
		return r.Incarnation == o.Incarnation
	}
	return r.Epoch == o.Epoch
}

// NotClosed returns the parts of a range that no operator has accepted.
func (a *Agent) NotClosed(r Accepted) (open []Accepted) {
	var closed []Accepted
	for i := range a.closings {
		for _, c := range a.closings[i].Ranges {
			if c.About(&r) && c.From <= r.To && c.To >= r.From {
				closed = append(closed, c)
			}
		}
	}
	slices.SortFunc(closed, func(x, y Accepted) int { return cmp.Compare(x.From, y.From) })
	for _, c := range closed {
		if c.From > r.From {
			o := r
			o.To = c.From - 1
			open = append(open, o)
		}
		r.From = max(r.From, c.To+1)
	}
	if r.From <= r.To {
		open = append(open, r)
	}
	return open
}
