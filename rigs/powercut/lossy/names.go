package lossy

// Order says which changes of names a cut may lose while it keeps later ones; the
// package's doc has what they mean.
type Order int

// The orders, the strictest file system first.
const (
	Journaled Order = iota
	PerFolder
	Loose
)

// String returns the order's name.
func (o Order) String() string { return [...]string{"journaled", "per folder", "loose"}[o] }

// OwnName says whether a flush of a file or a folder brings its own name in the
// folder above: POSIX leaves that open.
type OwnName int

// The answers.
const (
	Never OwnName = iota
	Sometimes
	Always
)

// String returns the answer.
func (o OwnName) String() string { return [...]string{"never", "sometimes", "always"}[o] }

// place is a name in a folder.
type place struct {
	folder uint64 // the folder's number
	name   string
}

// change is one operation on names: file appears at to, and is gone from from. A
// place without a name is none.
type change struct {
	file     uint64
	from, to place
}

// touches reports whether the change is one of a folder.
func (c *change) touches(folder uint64) bool {
	return c.from.name != "" && c.from.folder == folder || c.to.name != "" && c.to.folder == folder
}

// follows reports whether c can only be kept together with the earlier change b.
func (o Order) follows(c, b *change) bool {
	switch o {
	case Journaled:
		return true
	case PerFolder:
		if c.from.name != "" && b.touches(c.from.folder) || c.to.name != "" && b.touches(c.to.folder) {
			return true
		}
	}
	for _, p := range []place{c.from, c.to} {
		if p.name != "" && (p == b.from || p == b.to) {
			return true
		}
	}
	return c.file == b.file
}

// names is the changes that are not on the disk, oldest first.
type names struct {
	order Order
	list  []change
}

// take removes changes from the list, and returns them in their order: those for
// which want says so, with all that they follow.
func (n *names) take(want func(*change) bool) (taken []change) {
	need := make([]bool, len(n.list))
	for i := len(n.list) - 1; i >= 0; i-- {
		need[i] = need[i] || want(&n.list[i])
		for j := 0; need[i] && j < i; j++ {
			need[j] = need[j] || n.order.follows(&n.list[i], &n.list[j])
		}
	}
	return n.split(need)
}

// survive removes and returns the changes that a cut keeps: those for which want
// says so, unless one that they follow is lost.
func (n *names) survive(want func(*change) bool) (kept []change) {
	keep := make([]bool, len(n.list))
	for i := range n.list {
		keep[i] = want(&n.list[i])
		for j := 0; keep[i] && j < i; j++ {
			keep[i] = keep[j] || !n.order.follows(&n.list[i], &n.list[j])
		}
	}
	return n.split(keep)
}

func (n *names) split(out []bool) (taken []change) {
	var rest []change
	for i, c := range n.list {
		if out[i] {
			taken = append(taken, c)
		} else {
			rest = append(rest, c)
		}
	}
	n.list = rest
	return taken
}
