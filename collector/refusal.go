package collector

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

// refusal is an error that the peer is told before its link is closed.
type refusal struct {
	code  wire.RefuseCode
	retry time.Duration
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// frame returns the frame that tells r.
func (r *refusal) frame() []byte {
	return wire.AppendJSON(nil, wire.TypeRefuse, wire.Refuse{Code: r.code, Message: plain(r.Error(), maxMessage), RetryAfter: r.retry})
}

// spread returns after how long a refused agent comes back: agents that are
// refused together do not come back together.
func spread() time.Duration {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return 2*time.Second + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(8*time.Second))
}

// maxMessage is the most bytes of text of a peer, or about its input, that are
// logged or sent.
const maxMessage = 512

// plain returns s as it may be shown to people: at most n bytes and a mark, and
// whatever does not print (or turns text around) escaped.
func plain(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "..."
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if strings.IndexFunc(s, odd) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case odd(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// quiet keeps what strangers do from filling the log: one line a minute for each
// source and kind of trouble.
type quiet struct {
	mu     sync.Mutex
	until  map[string]time.Time
	missed int // not logged since the last line
}

const (
	quietFor  = time.Minute
	quietMost = 4096 // sources that are remembered
)

// allow reports whether a line for source may be logged, and how many were not
// since the last one that was.
func (q *quiet) allow(source string, now time.Time) (ok bool, missed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.until[source]) {
		q.missed++
		return false, 0
	}
	if len(q.until) >= quietMost {
		for k, t := range q.until {
			if !now.Before(t) {
				delete(q.until, k)
			}
		}
		if len(q.until) >= quietMost {
			q.missed++
			return false, 0
		}
	}
	if q.until == nil {
		q.until = map[string]time.Time{}
	}
	q.until[source] = now.Add(quietFor)
	missed, q.missed = q.missed, 0
	return true, missed
}

// source names who is refused and why, for quiet: an agent, or else a host, which
// may be a tunnel that many agents come through.
func source(id wire.AgentID, code wire.RefuseCode, address string) string {
	if id != "" {
		return "agent " + string(id) + " " + string(code)
	}
	if h, _, err := net.SplitHostPort(address); err == nil {
		address = h
	}
	return "host " + address + " " + string(code)
}
