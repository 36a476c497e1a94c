package collector

import "sync"

// Buffers of batches are used again: a drain would otherwise allocate, clear and
// collect every byte that comes, which was half of what the server did. There is a
// pool for each number of small steps up to a large one, and then for each number
// of large ones; the smallest batches have buffers of their own size.
var buffers [bufferStep/smallStep - 1 + 64]sync.Pool

const (
	smallStep  = 4 << 10
	bufferStep = 64 << 10
)

// bufferFor returns how large the buffer of a whole batch of so many bytes is, and
// its pool; -1 if it has none.
func bufferFor(size int) (capacity, pool int) {
	small, large := (size-1)/smallStep, (size-1)/bufferStep
	switch {
	case size < smallStep/2:
		return size, -1
	case large == 0:
		return (small + 1) * smallStep, small
	}
	if pool = bufferStep/smallStep - 1 + large; pool >= len(buffers) {
		return size, -1
	}
	return (large + 1) * bufferStep, pool
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
		kept := b[:0] // b itself would then be on the heap in every call
		buffers[pool].Put(&kept)
	}
}
