package collector

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// chunked gives what it has in chunks of random sizes.
type chunked struct {
	net.Conn
	data []byte
	r    *rand.Rand
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1+c.r.IntN(600))], c.data)
	c.data = c.data[n:]
	return n, nil
}

func record(n int) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(n)), bytes.Repeat([]byte{byte(n)}, n)...)
}

// However bytes come and are asked for, all are handed out, and none of a record
// while one of the record before is asked for.
func TestRationedKeepsToRecords(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		var all []byte
		ends := map[int]bool{}
		for range 20 {
			all = append(all, record([]int{0, 1, 4, 250, 251, 256, 257, 1400, 16401}[r.IntN(9)])...)
			ends[len(all)] = true
		}
		c := &rationed{Conn: &chunked{data: all, r: r}, free: true}
		var got []byte
		buf := make([]byte, 20000)
		for {
			if ends[len(got)] {
				if err := c.wait(); err == io.EOF {
					break
				}
			}
			n, err := c.Read(buf[:1+r.IntN(len(buf))])
			for i := 1; i < n; i++ {
				if ends[len(got)+i] {
					t.Fatalf("seed %d: one read goes over the end of a record at %d", seed, len(got)+i)
				}
			}
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got, all) {
			t.Fatalf("seed %d: %d of %d bytes came", seed, len(got), len(all))
		}
	}
}

// A stranger may send so much and no more.
func TestRationedStopsAStranger(t *testing.T) {
	c := &rationed{Conn: &chunked{data: bytes.Repeat(record(16000), 3), r: rand.New(rand.NewPCG(1, 1))}, left: maxUnknown}
	n, err := io.Copy(io.Discard, c)
	if n != maxUnknown || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestProtocolsAreShared(t *testing.T) {
	base := &tls.Config{}
	next := base
	p := &protocols{given: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return next, nil }}}
	choose := func(proto ...string) *tls.Config {
		c, err := p.choose(&tls.ClientHelloInfo{SupportedProtos: proto})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	link := choose("fieldpost/1")
	if choose("fieldpost/1") != link || choose("h2") != link || choose("fieldpost-enroll/1") == link {
		t.Error("settings are not shared by protocol")
	}
	if link.MinVersion != tls.VersionTLS13 || !link.SessionTicketsDisabled || link.ClientAuth != tls.RequireAndVerifyClientCert || base.MinVersion != 0 {
		t.Errorf("%+v", link)
	}
	next = &tls.Config{}
	if choose("fieldpost/1") == link {
		t.Error("new files do not count")
	}
}
