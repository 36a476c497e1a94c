package lossy

import (
	"maps"
	"math/rand/v2"
	"slices"
)

const (
	sectorSize = 512
	pageSize   = 4096 // bytes of a file that are stored together
)

// page is never changed once it is in a file, so that a file, its synced state
// and images of it can share it.
type page [pageSize]byte

// zero is what a page that is not there holds.
var zero page

// content is a file: what is seen, what is on the disk, and in which sectors the
// two differ.
type content struct {
	seen, disk         []*page // nil: zeros
	seenSize, diskSize int64
	dirty              map[int]uint8 // by page, a bit for each sector that was written and not synced
}

func at(list []*page, i int) *page {
	if i < len(list) && list[i] != nil {
		return list[i]
	}
	return &zero
}

func put(list []*page, i int, p *page) []*page {
	for len(list) <= i {
		list = append(list, nil)
	}
	list[i] = p
	return list
}

// read copies what is seen from off on; it returns how many bytes there were.
func (c *content) read(b []byte, off int64) int {
	if off >= c.seenSize {
		return 0
	}
	b = b[:min(int64(len(b)), c.seenSize-off)]
	for n := 0; n < len(b); {
		i, o := int((off+int64(n))/pageSize), int((off+int64(n))%pageSize)
		n += copy(b[n:], at(c.seen, i)[o:])
	}
	return len(b)
}

// write changes what is seen. A version that was not synced may reach the disk
// just before it is written over.
func (c *content) write(b []byte, off int64, rng *rand.Rand) {
	if off > c.seenSize {
		c.resize(off)
	}
	for len(b) > 0 {
		i, o := int(off/pageSize), int(off%pageSize)
		p := *at(c.seen, i)
		n := copy(p[o:], b)
		mask := sectors(o, o+n)
		if old := c.dirty[i] & mask; old != 0 && rng.IntN(4) == 0 {
			c.bring(i, old)
		}
		c.seen = put(c.seen, i, &p)
		c.mark(i, mask)
		b, off = b[n:], off+int64(n)
	}
	c.seenSize = max(c.seenSize, off)
}

// sectors returns the bits of the sectors that bytes from to to of a page touch.
func sectors(from, to int) uint8 {
	first, last := from/sectorSize, (to-1)/sectorSize
	return uint8(0xff<<first) & uint8(0xff>>(7-last))
}

func (c *content) mark(i int, mask uint8) {
	if c.dirty == nil {
		c.dirty = map[int]uint8{}
	}
	c.dirty[i] |= mask
}

// bring puts sectors of a page on the disk.
func (c *content) bring(i int, mask uint8) {
	p := *at(c.disk, i)
	from := at(c.seen, i)
	for s := range pageSize / sectorSize {
		if mask&(1<<s) != 0 {
			copy(p[s*sectorSize:(s+1)*sectorSize], from[s*sectorSize:])
		}
	}
	c.disk = put(c.disk, i, &p)
}

// resize changes the length that is seen. What is cut off reads as zeros if the
// file grows again.
func (c *content) resize(size int64) {
	for i := int(size / pageSize); size < c.seenSize && i < len(c.seen); i++ {
		from := 0
		if int64(i) == size/pageSize {
			from = int(size % pageSize)
		}
		p := *at(c.seen, i)
		clear(p[from:])
		c.seen = put(c.seen, i, &p)
		c.mark(i, sectors(from, pageSize))
	}
	c.seenSize = size
}

// sync puts everything on the disk.
func (c *content) sync() {
	for i := range c.dirty {
		c.disk = put(c.disk, i, at(c.seen, i))
	}
	clear(c.dirty)
	c.diskSize = c.seenSize
}

// lose forgets of every second unsynced sector, by chance, that it is to be
// written. A later write to its page brings it all the same: pages are written
// back whole.
func (c *content) lose(rng *rand.Rand) {
	for _, i := range slices.Sorted(maps.Keys(c.dirty)) {
		for s := range pageSize / sectorSize {
			if rng.IntN(2) == 0 {
				c.dirty[i] &^= 1 << s
			}
		}
		if c.dirty[i] == 0 {
			delete(c.dirty, i)
		}
	}
}

// image returns the file as a cut leaves it: each sector that was not synced is
// kept with the given probability.
func (c *content) image(rng *rand.Rand, keep float64) *content {
	left := &content{seen: c.seen, disk: slices.Clone(c.disk), diskSize: c.diskSize} // seen: what bring takes from
	for _, i := range slices.Sorted(maps.Keys(c.dirty)) {
		var mask uint8
		for s := range pageSize / sectorSize {
			if bit := uint8(1 << s); c.dirty[i]&bit != 0 && rng.Float64() < keep {
				mask |= bit
			}
		}
		if mask != 0 {
			left.bring(i, mask)
		}
	}
	if c.diskSize != c.seenSize && rng.Float64() < keep {
		left.diskSize = c.seenSize
		if grown := (c.seenSize - c.diskSize) / sectorSize; grown > 1 && rng.IntN(4) == 0 {
			left.diskSize = c.diskSize + rng.Int64N(grown)*sectorSize // the length of an earlier write
		}
	}
	// What lies beyond the end is gone for good.
	left.seen = slices.Clone(left.disk)
	left.seenSize = max(left.diskSize, int64(len(left.disk))*pageSize)
	left.resize(left.diskSize)
	left.sync()
	return left
}
