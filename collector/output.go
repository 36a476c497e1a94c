package collector

import (
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// output is what a link has for its peer. A goroutine writes it and exists only
// while there is something to write. Acks are not kept as frames: of each stream
// only the newest W is written, so a slow peer costs no memory and hears less.
//
// Per stream the order holds: what was put before an ack is written before it.
type output struct {
	link *link

	mu      sync.Mutex
	frames  []byte    // to be written first
	acks    []*stream // whose W is to be told behind frames
	writing bool      // a goroutine writes
	closed  bool      // nothing may be put any more
}

// told is what a stream's peer was told; guarded by output.mu.
type told struct {
	w      wire.Seq  // to tell, or told if the stream is not in output.acks
	last   wire.Seq  // written, or in output.frames
	at     time.Time // when the last ack was put
	queued bool      // in output.acks
}

// pong puts the answer to a ping.
func (o *output) pong(nonce uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(wire.AppendPong(o.frames, nonce))
}

// ping puts a ping.
func (o *output) ping(nonce uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(wire.AppendPing(o.frames, nonce, nil))
}

// welcome puts the welcome, the one frame that may be large.
func (o *output) welcome(w wire.Welcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.put(wire.AppendJSON(o.frames, wire.TypeWelcome, w))
}

// ack tells the peer that a stream's watermark has moved to w. o.mu is held, for
// this and the next methods: answers to one group are written together.
func (o *output) ack(st *stream, w wire.Seq) {
	if o.closed {
		return
	}
	st.told.w = w
	if !st.told.queued {
		st.told.queued = true
		o.acks = append(o.acks, st)
	}
	o.start()
}

// again tells the peer a watermark that has not moved, by which it goes back. If
// w has moved since the peer was told last, it is told twice.
func (o *output) again(st *stream, w wire.Seq) {
	o.put(wire.AppendAck(o.settle(st, w), st.number, w))
}

// reject tells the peer that number n is refused, behind the watermark w.
func (o *output) reject(st *stream, w, n wire.Seq, why string) {
	o.put(wire.AppendReject(o.settle(st, w), st.number, n, why))
}

// stale reports whether the peer was last told st's watermark longer than d ago.
func (o *output) stale(st *stream, d time.Duration) bool {
	return !st.told.queued && time.Since(st.told.at) > d
}

// settle returns frames with an ack of w, if the peer was not told yet, and takes
// the stream off the waiting acks.
func (o *output) settle(st *stream, w wire.Seq) []byte {
	frames := o.frames
	if st.told.last != w {
		frames = wire.AppendAck(frames, st.number, w)
	}
	st.told.w, st.told.last, st.told.at = w, w, time.Now()
	if st.told.queued {
		st.told.queued = false
		o.acks = slices.DeleteFunc(o.acks, func(s *stream) bool { return s == st })
	}
	return frames
}

// put takes the longer frames and starts the writer.
func (o *output) put(frames []byte) {
	if o.closed {
		return
	}
	o.frames = frames
	if len(frames) > maxUnwritten+wire.MaxFrame {
		o.closed = true
		o.link.end(ending{cause: "the agent does not read what it is sent"})
		return
	}
	o.start()
}

func (o *output) start() {
	if !o.writing {
		o.writing = true
		o.link.writer.Go(o.write)
	}
}

// collect moves what is to be written out of o, acks behind the frames.
func (o *output) collect() []byte {
	out := o.frames
	for i, st := range o.acks {
		out = wire.AppendAck(out, st.number, st.told.w)
		st.told.last, st.told.at, st.told.queued = st.told.w, time.Now(), false
		o.acks[i] = nil
	}
	o.frames, o.acks = nil, o.acks[:0]
	return out
}

// write writes until nothing is left.
func (o *output) write() {
	conn := o.link.conn
	for {
		o.mu.Lock()
		out := o.collect()
		if len(out) == 0 {
			o.writing = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()

		conn.SetWriteDeadline(time.Now().Add(o.link.writeTimeout()))
		n, err := conn.Write(out)
		o.link.wrote(n)
		if err != nil {
			o.mu.Lock()
			o.frames, o.acks, o.closed, o.writing = nil, nil, true, false
			o.mu.Unlock()
			cause := err.Error()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				cause = "the agent does not read what it is sent"
			}
			o.link.end(ending{cause: "write: " + cause})
			return
		}
	}
}

// mute discards what is not written: a fenced session hears no ack any more.
func (o *output) mute() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames, o.acks, o.closed = nil, nil, true
}

// finish puts the last frame, which may be nil; nothing comes behind it.
func (o *output) finish(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames = append(o.collect(), last...)
	o.closed = true
	if len(o.frames) > 0 {
		o.start()
	}
}
