package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func goodEnroll() wire.Enroll {
	return wire.Enroll{Protocol: 1, Agent: "pump-7", Token: make([]byte, wire.TokenSecret), Request: []byte{0x30}}
}

func goodEnrolled() wire.Enrolled {
	return wire.Enrolled{Certificate: [][]byte{{0x30}}, Authorities: [][]byte{{0x30}}, Time: time.Unix(1700000000, 0).UTC()}
}

// TestEnrollCheck changes one field of a good frame at a time.
func TestEnrollCheck(t *testing.T) {
	for _, c := range []struct {
		name, want string // "" accepted
		change     func(*wire.Enroll)
	}{
		{"good", "", func(*wire.Enroll) {}},
		{"without a token", "", func(e *wire.Enroll) { e.Token = nil }},
		{"another version", "protocol version 2", func(e *wire.Enroll) { e.Protocol = 2 }},
		{"half a token", "secret of 10 bytes", func(e *wire.Enroll) { e.Token = e.Token[:10] }},
		{"no request", "request of 0 bytes", func(e *wire.Enroll) { e.Request = nil }},
		{"a request beyond the limit", "request of 2049 bytes, the limit is 2048", func(e *wire.Enroll) { e.Request = make([]byte, 2049) }},
		{"a malformed id", `agent id "a/b"`, func(e *wire.Enroll) { e.Agent = "a/b" }},
	} {
		e := goodEnroll()
		c.change(&e)
		if err := e.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for name, change := range map[string]func(*wire.Enrolled){
		"no certificate": func(e *wire.Enrolled) { e.Certificate = nil }, "no authority": func(e *wire.Enrolled) { e.Authorities = nil },
		"an empty one": func(e *wire.Enrolled) { e.Certificate[0] = nil }, "too many": func(e *wire.Enrolled) { e.Authorities = make([][]byte, 9) },
	} {
		e := goodEnrolled()
		if err := e.Check(); err != nil {
			t.Fatal(err)
		}
		if change(&e); e.Check() == nil {
			t.Errorf("%s has no error", name)
		}
	}
}

// The largest enroll that an agent sends fits into what a collector reads of a
// stranger.
func TestTheLargestEnrollFits(t *testing.T) {
	long := strings.Repeat("\x01", 1000)
	e := goodEnroll()
	e.Agent, e.Request = wire.AgentID(strings.Repeat("x", wire.MaxName)), make([]byte, wire.MaxRequest)
	e.Software, e.Host = long, wire.Host{Name: long, OS: long, Arch: long}
	if n := len(wire.AppendJSON(nil, wire.TypeEnroll, e)); n > wire.MaxEnroll {
		t.Errorf("%d bytes, the limit is %d", n, wire.MaxEnroll)
	}
}
