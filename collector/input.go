package collector

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// input reads a link's frames. While data flows it borrows large buffers; an
// idle link holds only small ones, because most links are idle most of the time.
type input struct {
	conn net.Conn
	base time.Time // heard counts from here; a monotonic clock

	heard atomic.Int64  // when the last bytes came, ns after base; set by the reader, read by all
	bytes *atomic.Int64 // of the server: bytes read

	// owned by the reader
	data   []byte // read and not consumed
	err    error  // of the last read; it comes behind data
	secure bool   // the TLS handshake is through
	full   bool   // the last read filled its buffer: more is likely there
	flow   *flow  // borrowed, or nil
	frame  []byte // for payloads while nothing is borrowed
	small  [256]byte
}

// flow is what a link borrows while data flows.
type flow struct {
	read  [64 << 10]byte
	frame []byte
}

var flows = sync.Pool{New: func() any { return new(flow) }}

// smallFrame is the largest payload buffer that an idle link keeps.
const smallFrame = 512

// await waits for the first bytes of a frame. A link spends its life here, so
// the call is shallow: the garbage collector halves a waiting goroutine's stack
// only while little of it is in use.
func (in *input) await() {
	if len(in.data) > 0 || in.err != nil {
		return
	}
	if !in.full {
		in.release()
		if conn, ok := in.conn.(secured); ok && in.secure {
			if in.err = conn.wait(); in.err != nil {
				return
			}
		}
	}
	in.err = in.fill()
}

// next reads one frame of at most limit bytes of payload. The payload is good
// until the next call of await or next.
func (in *input) next(limit int) (wire.Type, []byte, error) {
	in.await()
	buf := in.frame
	if in.flow != nil {
		buf = in.flow.frame
	}
	t, p, buf, err := wire.ReadFrame(in, buf, limit)
	switch {
	case in.flow != nil:
		in.flow.frame = buf
	case cap(buf) <= smallFrame:
		in.frame = buf
	}
	return t, p, err
}

// Read hands out what is buffered, or what one read of the connection brings.
func (in *input) Read(p []byte) (int, error) {
	if len(in.data) == 0 && in.err == nil {
		in.err = in.fill()
	}
	if len(in.data) == 0 {
		return 0, in.err
	}
	n := copy(p, in.data)
	in.data = in.data[n:]
	return n, nil
}

// fill reads once from the connection.
func (in *input) fill() error {
	if in.full && in.flow == nil {
		in.flow = flows.Get().(*flow)
	}
	buf := in.small[:]
	if in.flow != nil {
		buf = in.flow.read[:]
	}
	n, err := in.conn.Read(buf)
	if n > 0 {
		in.heard.Store(int64(time.Since(in.base)))
		in.bytes.Add(int64(n))
	}
	in.data, in.full = buf[:n], n == len(buf)
	return err
}

// release gives borrowed buffers back; what they held is gone.
func (in *input) release() {
	if in.flow == nil {
		return
	}
	flows.Put(in.flow)
	in.flow, in.data = nil, nil
}

// lastHeard returns when the peer's last byte came.
func (in *input) lastHeard() time.Time { return in.base.Add(time.Duration(in.heard.Load())) }
