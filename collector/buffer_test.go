package collector

import (
	"bytes"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// A batch that comes in fragments is put together whole, in a buffer that is never
// larger than what it is said to be, whatever lies in the pools.
func TestABatchIsPutTogetherInItsBuffer(t *testing.T) {
	for range 2 { // the second time buffers lie ready
		for _, size := range []int{1, smallStep/2 - 1, smallStep / 2, smallStep, smallStep + 1, bufferStep - smallStep + 1, bufferStep - 1, bufferStep, bufferStep + 1, 300_000, 64*bufferStep - 1, 64 * bufferStep, 64*bufferStep + 1, wire.MaxBatchSize} {
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(i * 31 >> 3)
			}
			whole, _ := bufferFor(size)
			p := part{size: size}
			for rest := want; len(rest) > 0; {
				n := min(len(rest), wire.DefaultFragment)
				done, err := p.add(rest[:n])
				if rest = rest[n:]; err != nil || done != (len(rest) == 0) {
					t.Fatalf("%d bytes, %d to come: done %t, %v", size, len(rest), done, err)
				}
				if cap(p.data) > whole {
					t.Fatalf("%d bytes in a buffer of %d, want at most %d", size, cap(p.data), whole)
				}
			}
			if !bytes.Equal(p.data, want) {
				t.Fatalf("%d bytes are not what was sent", size)
			}
			if _, err := p.add([]byte{0}); err == nil {
				t.Fatalf("%d bytes take one more", size)
			}
			recycle(p.data)
		}
	}
}
