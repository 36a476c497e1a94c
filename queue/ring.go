package queue

import (
	"cmp"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// ring keeps what was committed last, so that a sender that keeps up reads
// nothing from disk. Its blocks are consecutive; it holds about maxRecent bytes.
type ring struct {
	blocks []block
	bytes  int
}

func (r *ring) add(list []block) {
	for _, b := range list {
		if k := len(r.blocks); k > 0 && r.blocks[k-1].last+1 != b.first {
			*r = ring{}
		}
		r.blocks = append(r.blocks, b)
		r.bytes += len(b.data)
	}
	for len(r.blocks) > 1 && r.bytes > maxRecent {
		r.pop()
	}
}

// pop drops the oldest block. The array behind the slice goes when it is full:
// append then copies the live part only.
func (r *ring) pop() {
	r.bytes -= len(r.blocks[0].data)
	r.blocks[0] = block{}
	r.blocks = r.blocks[1:]
}

// trim drops what is acked.
func (r *ring) trim(acked wire.Seq) {
	for len(r.blocks) > 0 && r.blocks[0].last <= acked {
		r.pop()
	}
}

// from returns up to limit bytes of blocks, the first of which contains n; nil
// if it is not here. The caller owns the slice, not the data.
func (r *ring) from(n wire.Seq, limit int) []block {
	i, _ := slices.BinarySearchFunc(r.blocks, n, func(b block, n wire.Seq) int { return cmp.Compare(b.last, n) })
	if i == len(r.blocks) || r.blocks[i].first > n {
		return nil
	}
	j := i + 1
	for size := len(r.blocks[i].data); j < len(r.blocks) && size < limit; j++ {
		size += len(r.blocks[j].data)
	}
	return slices.Clone(r.blocks[i:j])
}
