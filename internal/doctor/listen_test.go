package doctor

import (
	"net"
	"strings"
	"testing"
)

func TestCanListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	want(t, one(t, CanListen(taken)), Fail, "another program has "+taken)
	if err := Answers(t.Context(), taken); err != nil {
		t.Error(err)
	}
	l.Close()
	want(t, one(t, CanListen(taken)), OK, "is free")
	if err := Answers(t.Context(), taken); err == nil {
		t.Error("nobody answers, and that is no error")
	}
	want(t, one(t, CanListen("192.0.2.1:4717")), Fail, "192.0.2.1:4717")
	want(t, one(t, CanListen("nonsense")), Fail)
	for addr, part := range map[string]string{":1": "localhost:1", "0.0.0.0:1": "localhost:1", "[::]:1": "localhost:1", "10.0.0.1:1": "10.0.0.1:1", "centre:1": "centre:1"} {
		if got := Dialable(addr); !strings.HasSuffix(got, part) {
			t.Errorf("%s: %s", addr, got)
		}
	}
}
