package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Version is the protocol's version. A collector refuses a hello of another one.
const Version = 1

// Hello is the agent's first frame.
type Hello struct {
	Protocol    int           `json:"protocol"`
	Agent       AgentID       `json:"agent"`
	Instance    Instance      `json:"instance"`
	LastSession uint64        `json:"last_session"`        // number of the last session this instance was granted, 0 if none
	Streams     int           `json:"streams"`             // history frames that follow, further pages not counted
	Software    string        `json:"software,omitempty"`  // name and version, for people; sent up to MaxText bytes
	Host        Host          `json:"host"`                // for people
	Heartbeat   time.Duration `json:"heartbeat,omitempty"` // interval the agent asks for, ns; 0: the collector's
}

// fit returns h with its texts for people cut, so that no hello is above
// MaxHello: a long host name must not keep an agent from connecting.
func (h Hello) fit() Hello {
	h.Software = fitText(h.Software, MaxText)
	h.Host = Host{fitText(h.Host.Name, MaxText), fitText(h.Host.OS, MaxText), fitText(h.Host.Arch, MaxText)}
	return h
}

// Host is what an agent says of its machine, for people; each sent up to MaxText
// bytes.
type Host struct {
	Name string `json:"name,omitempty"`
	OS   string `json:"os,omitempty"`
	Arch string `json:"arch,omitempty"`
}

// Check verifies a hello that was read from a peer.
func (h *Hello) Check() error {
	switch {
	case h.Protocol != Version:
		return fmt.Errorf("protocol version %d, this side speaks %d", h.Protocol, Version)
	case h.Instance.IsZero():
		return errors.New("hello without an instance")
	case h.Streams < 0 || h.Streams > MaxStreams:
		return fmt.Errorf("hello with %d streams, the limit is %d", h.Streams, MaxStreams)
	case h.Heartbeat < 0:
		return fmt.Errorf("hello with a heartbeat of %s", h.Heartbeat)
	}
	return CheckName("agent id", string(h.Agent))
}

// StreamState is the agent's synced state of one stream, for a hello. A state
// with more boundaries than MaxPageBounds is sent in pages: equal but for
// Boundaries, oldest first, all but the last with More set.
type StreamState struct {
	Lane       Lane    `json:"lane"`
	Epoch      Epoch   `json:"epoch"`
	Next       Seq     `json:"next"`
	Acked      Seq     `json:"acked"` // largest number acked by whatever store
	Boundaries History `json:"boundaries"`
	More       bool    `json:"more,omitempty"`
}

// Window returns s as far as one hello can tell it: with at most limit of its
// boundaries (2 to MaxHelloBounds), the newest of those that begin below the
// number below and the one behind them, so that it is seen where they end; 0: the
// newest of all. If newer ones are left out, Next is lowered to where the first of
// them begins: it is told as if the stream ended there. The boundaries are a copy.
func (s StreamState) Window(below Seq, limit int) StreamState {
	h := s.Boundaries
	end := len(h)
	if below > 0 {
		end = min(len(h), h.index(below-1)+2)
	}
	if end < len(h) {
		s.Next = h[end-1].First
		s.Acked = min(s.Acked, s.Next-1)
	}
	s.Boundaries = slices.Clone(h[max(0, end-limit):end])
	return s
}

// Around returns the window that has the boundary which covers n, half of its
// boundaries above that one if there are so many.
func (s StreamState) Around(n Seq, limit int) StreamState {
	h := s.Boundaries
	if last := h.index(n) + limit/2; last < len(h)-1 {
		return s.Window(h[max(0, last)].First, limit)
	}
	return s.Window(0, limit)
}

// Last returns the stream's last number, 0 if it has none.
func (s *StreamState) Last() Seq { return s.Next - 1 }

// Check verifies a state that was read from a peer, all its pages joined.
func (s *StreamState) Check() error {
	if err := CheckName("lane", string(s.Lane)); err != nil {
		return err
	}
	switch {
	case s.Epoch.IsZero():
		return fmt.Errorf("lane %s: stream without an epoch", s.Lane)
	case s.Next == 0 || s.Next > MaxSeq+1:
		return fmt.Errorf("lane %s: next is %d, numbers are 1 to %d", s.Lane, s.Next, MaxSeq)
	case s.Acked >= s.Next:
		return fmt.Errorf("lane %s: acked %d, but next is %d", s.Lane, s.Acked, s.Next)
	case len(s.Boundaries) > MaxHelloBounds:
		return fmt.Errorf("lane %s: %d boundaries, the limit is %d", s.Lane, len(s.Boundaries), MaxHelloBounds)
	case len(s.Boundaries) == 0:
		return fmt.Errorf("lane %s: no boundaries, an opened lane has one", s.Lane)
	case s.Boundaries[len(s.Boundaries)-1].First > s.Next:
		return fmt.Errorf("lane %s: a boundary at %d, but next is %d", s.Lane, s.Boundaries[len(s.Boundaries)-1].First, s.Next)
	}
	if err := s.Boundaries.Check(); err != nil {
		return fmt.Errorf("lane %s: %w", s.Lane, err)
	}
	return nil
}

// Session is granted by the store in the transaction that fences every other
// session of the agent. Both parts are checked at every append.
type Session struct {
	Number uint64 `json:"number"`
	Nonce  ID     `json:"nonce"`
}

// Welcome is the collector's answer to a hello and its histories.
type Welcome struct {
	Session     Session       `json:"session"`
	Store       StoreID       `json:"store"`
	Replaces    []StoreID     `json:"replaces,omitempty"`     // stores that this one replaces
	ReplacesAny bool          `json:"replaces_any,omitempty"` // it replaces every other store
	Heartbeat   time.Duration `json:"heartbeat"`              // interval for both sides, ns
	Window      int           `json:"window"`                 // bytes of a lane that may be on their way unacked
	Fragment    int           `json:"fragment"`               // most bytes of a batch in one data frame
	Time        time.Time     `json:"time"`                   // the collector's clock
	Matches     []Match       `json:"matches"`                // one for each stream of the hello, in its order
}

// Check verifies a welcome that was read from a peer as the answer to a hello
// with the streams said.
func (w *Welcome) Check(said []StreamState) error {
	switch {
	case w.Session.Number == 0:
		return errors.New("welcome without a session")
	case w.Store.IsZero():
		return errors.New("welcome without a store")
	case w.Heartbeat <= 0:
		return fmt.Errorf("welcome with a heartbeat of %s", w.Heartbeat)
	case w.Window <= 0 || w.Fragment <= 0:
		return fmt.Errorf("welcome with a window of %d and a fragment of %d bytes", w.Window, w.Fragment)
	case len(w.Matches) != len(said):
		return fmt.Errorf("welcome with %d matches for %d streams", len(w.Matches), len(said))
	}
	for i, m := range w.Matches {
		if err := m.check(&said[i]); err != nil {
			return fmt.Errorf("welcome: lane %s: %w", said[i].Lane, err)
		}
	}
	return nil
}

func (m *Match) check(said *StreamState) error {
	switch {
	case !m.Found:
		return nil
	case m.Epoch.IsZero():
		return errors.New("a match without an epoch")
	case m.W > MaxSeq:
		return fmt.Errorf("watermark %d, the largest number is %d", m.W, MaxSeq)
	case m.Common > m.W || m.Common > said.Last():
		return fmt.Errorf("common point %d, but W is %d and the hello's last number %d", m.Common, m.W, said.Last())
	}
	return nil
}

// Replaced reports whether the welcoming store stands in for old.
func (w *Welcome) Replaced(old StoreID) bool {
	if w.ReplacesAny || old == w.Store {
		return true
	}
	for _, id := range w.Replaces {
		if id == old {
			return true
		}
	}
	return false
}

// Match answers one stream of a hello with the store's stream of that lane that
// has the highest common point with it.
type Match struct {
	Found    bool        `json:"found"`
	Epoch    Epoch       `json:"epoch"`
	W        Seq         `json:"w"`                   // that stream's watermark
	Common   Seq         `json:"common"`              // the common point
	FPCommon Fingerprint `json:"fp_common,omitempty"` // of number Common, 0 if the store has no record of it
	FPAcked  Fingerprint `json:"fp_acked,omitempty"`  // of number min(Common, the hello's acked), likewise
	Beyond   bool        `json:"beyond,omitempty"`    // some stream goes on after Common in the agent's live incarnation
}

// Resume opens a stream on this link. Stream is a number of the agent's choice,
// unique on the link, that stands for the stream in hot frames. Pages as in
// [StreamState].
type Resume struct {
	Stream     uint32  `json:"stream"`
	Lane       Lane    `json:"lane"`
	Epoch      Epoch   `json:"epoch"`
	Base       Seq     `json:"base"` // an unknown stream is created with W = Base
	Next       Seq     `json:"next"` // announces the numbers below it
	Boundaries History `json:"boundaries"`
	More       bool    `json:"more,omitempty"`
}

// Check verifies a resume that was read from a peer, all its pages joined.
func (r *Resume) Check() error {
	s := StreamState{Lane: r.Lane, Epoch: r.Epoch, Next: r.Next, Boundaries: r.Boundaries}
	if err := s.Check(); err != nil {
		return err
	}
	if r.Base >= r.Next {
		return fmt.Errorf("lane %s: base %d, but next is %d", r.Lane, r.Base, r.Next)
	}
	return nil
}

// RefuseCode says why a collector ends a link.
type RefuseCode string

// The codes. An agent treats one it does not know like RefuseProtocol.
const (
	RefuseVersion  RefuseCode = "version"  // the hello's protocol version is not spoken here
	RefuseIdentity RefuseCode = "identity" // the agent id is malformed or not this peer's
	RefuseProtocol RefuseCode = "protocol" // a frame broke the protocol
	RefuseBusy     RefuseCode = "busy"     // too much load; try again after RetryAfter
	RefuseStore    RefuseCode = "store"    // the store cannot take anything now; try again after RetryAfter
	RefuseFenced   RefuseCode = "fenced"   // another session of this agent id was granted
	RefuseTLS      RefuseCode = "tls"      // the link has to be encrypted
	RefuseRevoked  RefuseCode = "revoked"  // the certificate is not taken any more; enrol again
	RefuseToken    RefuseCode = "token"    // the enrolment token is unknown, used up, expired or for another id
	RefuseEnroll   RefuseCode = "enroll"   // this collector gives no certificates
	RefuseLimit    RefuseCode = "limit"    // one agent, or one stream of it, more than the store is to remember
)

// RefuseCodes returns all codes. The caller owns the result.
func RefuseCodes() []RefuseCode {
	return []RefuseCode{RefuseVersion, RefuseIdentity, RefuseProtocol, RefuseBusy, RefuseStore, RefuseFenced, RefuseTLS, RefuseRevoked, RefuseToken, RefuseEnroll, RefuseLimit}
}

// Refuse is the collector's last frame when it ends a link for a cause.
type Refuse struct {
	Code       RefuseCode    `json:"code"`
	Message    string        `json:"message"`
	RetryAfter time.Duration `json:"retry_after,omitempty"` // ns, 0: the agent's own backoff
	Instance   Instance      `json:"instance,omitzero"`     // fenced: by which instance
}

// Bye is the last frame of a side that leaves on purpose.
type Bye struct {
	Reason string `json:"reason"` // e.g. "shutdown"
}

// AppendJSON appends a control frame to dst. v is one of this file's structs.
func AppendJSON(dst []byte, t Type, v any) []byte {
	switch h := v.(type) {
	case Hello:
		v = h.fit()
	case *Hello:
		v = h.fit()
	case Enroll:
		v = h.fit()
	case *Enroll:
		v = h.fit()
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: %T does not marshal: %v", v, err)) // a bug in this file, not input
	}
	return AppendFrame(dst, t, b)
}

// ParseJSON reads a control frame's payload, one JSON object in UTF-8 and nothing
// behind it, into v. Unknown fields are ignored, so that the frames can grow. The
// error for a name that is none is [ErrName] as well.
func ParseJSON(t Type, p []byte, v any) error {
	if !utf8.Valid(p) { // encoding/json would put other characters in its place
		return fmt.Errorf("%w: %s: not valid UTF-8", ErrFrame, t)
	}
	if err := json.Unmarshal(p, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFrame, t, err)
	}
	return nil
}

// AppendHistory appends the history frames of s to dst, in pages, the newest
// MaxHelloBounds boundaries of it.
func AppendHistory(dst []byte, s StreamState) []byte {
	for page, more := range pages(s.Boundaries) {
		s.Boundaries, s.More = page, more
		dst = AppendJSON(dst, TypeHistory, s)
	}
	return dst
}

// AppendResume appends the resume frames of r to dst, as AppendHistory does.
func AppendResume(dst []byte, r Resume) []byte {
	for page, more := range pages(r.Boundaries) {
		r.Boundaries, r.More = page, more
		dst = AppendJSON(dst, TypeResume, r)
	}
	return dst
}

// pages cuts the newest MaxHelloBounds boundaries of h into pages, at least one.
// A sender with more of them chooses by Window or Around what it tells.
func pages(h History) func(func(History, bool) bool) {
	h = h[max(0, len(h)-MaxHelloBounds):]
	return func(yield func(History, bool) bool) {
		for {
			n := min(len(h), MaxPageBounds)
			more := n < len(h)
			if !yield(h[:n], more) || !more {
				return
			}
			h = h[n:]
		}
	}
}
