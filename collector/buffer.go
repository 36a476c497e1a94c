package collector

import "sync"

// Buffers of batches are used again: a drain would otherwise allocate, clear and
// collect every byte that comes, which was half of what the server did. Pool k has
// those of k+1 steps; smaller batches have buffers of their own size.
var buffers [64]sync.Pool

const bufferStep = 64 << 10

// bufferFor returns how large the buffer of a whole batch of so many bytes is, and
// its pool; -1 if it has none.
func bufferFor(size int) (capacity, pool int) {
	pool = (size - 1) / bufferStep
	if size < bufferStep/2 || pool >= len(buffers) {
		return size, -1
	}
	return (pool + 1) * bufferStep, pool
}

// grow returns a buffer with the content of data, the beginning of a batch of size
// bytes, and room for need of them. One that lies ready is taken in full size;
// else memory is allocated as bytes come, not as they are declared. data must not
// be used any more.
func grow(data []byte, need, size int) []byte {
	defer recycle(data)
	whole, pool := bufferFor(size)
	if pool >= 0 {
		if b, ok := buffers[pool].Get().(*[]byte); ok {
			return append((*b)[:0], data...)
		}
	}
	capacity, _ := bufferFor(max(need, 2*cap(data), bufferStep))
	return append(make([]byte, 0, min(capacity, whole)), data...)
}

// recycle takes a buffer that nobody uses any more. One that is not of a pool's
// size is left to the garbage collector.
func recycle(b []byte) {
	if capacity, pool := bufferFor(cap(b)); pool >= 0 && capacity == cap(b) {
		b = b[:0]
		buffers[pool].Put(&b)
	}
}
