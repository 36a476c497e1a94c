package collector

import (
	"encoding/binary"
	"fmt"
	"net"
)

// rationed is the TCP connection below TLS. Its peer may send only so much before
// it is known. And it hands out no byte of the next record before it is asked for
// it: so TLS holds nothing back, and a link can wait here for its peer, not within
// TLS, whose stack is twice as deep. Most links wait most of the time.
type rationed struct {
	net.Conn
	left int  // bytes that a stranger may send
	free bool // known: no limit

	// owned by the reader
	ahead      [256]byte // read and not handed out
	from, to   int       // of ahead
	record     int       // bytes of the present record that were not handed out
	head       [recordHead]byte
	headFilled int
}

const recordHead = 5 // type, version, length of a TLS record

// wait returns when there is something to read.
func (r *rationed) wait() error {
	if r.from < r.to {
		return nil
	}
	n, err := r.raw(r.ahead[:])
	r.from, r.to = 0, n
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// raw reads from the connection, no more than what is left.
func (r *rationed) raw(p []byte) (int, error) {
	if r.free {
		return r.Conn.Read(p)
	}
	if r.left <= 0 {
		return 0, fmt.Errorf("more than %d bytes ahead of an identity", maxUnknown)
	}
	n, err := r.Conn.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// Read reads at most to the end of the present record.
func (r *rationed) Read(p []byte) (n int, err error) {
	most := r.record
	if most == 0 {
		most = recordHead - r.headFilled
	}
	p = p[:min(len(p), most)]
	switch {
	case r.from < r.to:
		n = copy(p, r.ahead[r.from:r.to])
		r.from += n
	case r.record >= len(r.ahead): // straight to where it is to be
		n, err = r.raw(p)
	default:
		if err := r.wait(); err != nil {
			return 0, err
		}
		n = copy(p, r.ahead[r.from:r.to])
		r.from += n
	}
	r.passed(p[:n])
	return n, err
}

// passed notes bytes that were handed out: of a record, or of a head, which says
// how long the record is.
func (r *rationed) passed(p []byte) {
	if r.record > 0 {
		r.record -= len(p)
		return
	}
	r.headFilled += copy(r.head[r.headFilled:], p)
	if r.headFilled == recordHead {
		r.record, r.headFilled = int(binary.BigEndian.Uint16(r.head[3:])), 0
	}
}

// CloseWrite tells the peer that nothing more comes, where the connection can.
func (r *rationed) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
