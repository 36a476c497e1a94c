package injuries

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

const pageSize = 4096

// kinds of pages, as an injury chooses among them.
var pageKinds = []string{"meta", "branch", "leaf", "free list", "batch header", "overflow"}

// pages sorts a database's pages by kind. bbolt's page header: id u64, flags u16,
// count u16, overflow u32, in the machine's order.
func pages(b []byte) map[string][]int {
	found := map[string][]int{}
	for id := 0; (id+1)*pageSize <= len(b); {
		p := b[id*pageSize : (id+1)*pageSize]
		kind := map[uint16]string{1: "branch", 2: "leaf", 4: "meta", 16: "free list"}[binary.NativeEndian.Uint16(p[8:])]
		if kind == "" || binary.NativeEndian.Uint64(p) != uint64(id) {
			id++
			continue
		}
		found[kind] = append(found[kind], id)
		if bytes.Contains(p, batchMagic) {
			found["batch header"] = append(found["batch header"], id)
		}
		more := int(binary.NativeEndian.Uint32(p[12:]))
		for k := id + 1; k <= id+more && (k+1)*pageSize <= len(b); k++ {
			found["overflow"] = append(found["overflow"], k)
		}
		id += 1 + max(0, min(more, len(b)/pageSize))
	}
	return found
}

// pick chooses a page: first its kind, then one of that kind.
func pick(r *rand.Rand, b []byte) (id int, kind string) {
	found := pages(b)
	kinds := slices.DeleteFunc(slices.Clone(pageKinds), func(k string) bool { return len(found[k]) == 0 })
	if len(kinds) == 0 {
		return r.IntN(max(1, len(b)/pageSize)), "no page"
	}
	kind = kinds[r.IntN(len(kinds))]
	return found[kind][r.IntN(len(found[kind]))], kind
}

var batchMagic = []byte("FPB\x01")

// whole returns the batches of the lane that lie whole in a file's bytes.
func whole(b []byte) (found []wire.Batch) {
	for i := 0; ; i++ {
		k := bytes.Index(b[i:], batchMagic)
		if k < 0 {
			return found
		}
		i += k
		size, err := wire.BatchSize(b[i:])
		if err != nil || i+size > len(b) {
			continue
		}
		if p, err := wire.ParseBatch(b[i : i+size]); err == nil && p.Lane == lane {
			found = append(found, p)
		}
	}
}

// wholeIn returns those of a file, none if it cannot be read.
func wholeIn(path string) []wire.Batch {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return whole(b)
}

// segments returns the paths of all segment files of a lane, the newest of each
// stream last, by the stream's folder.
func segments(dir string) map[string][]string {
	found := map[string][]string{}
	folders, _ := filepath.Glob(filepath.Join(dir, "streams", "*"))
	for _, d := range append([]string{dir}, folders...) {
		list, _ := filepath.Glob(filepath.Join(d, "*.seg"))
		slices.Sort(list)
		list = slices.DeleteFunc(list, func(p string) bool { info, err := os.Stat(p); return err != nil || info.IsDir() })
		if len(list) > 0 {
			found[d] = list
		}
	}
	return found
}

// all returns all segment files in an order that is always the same.
func all(dir string) (list []string) {
	for _, l := range segments(dir) {
		list = append(list, l...)
	}
	slices.Sort(list)
	return list
}

// newest reports whether a segment file is its stream's newest.
func newest(path string) bool {
	list, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.seg"))
	slices.Sort(list)
	return len(list) > 0 && list[len(list)-1] == path
}

// intact returns where the messages are that a search of the segment files finds
// whole: those that the lane must deliver, whatever was done to it.
func (l *life) intact() map[place]bool {
	found, seen := map[place]bool{}, map[place]bool{}
	l.spare = map[place]bool{}
	for _, path := range all(l.dir) {
		for _, p := range wholeIn(path) {
			for rec, err := range p.Records() {
				if err != nil {
					break
				}
				at := place{p.Incarnation, rec.Seq}
				if m, err := rec.Record.Message(); err == nil && l.accepted[at] == string(m.Body) {
					found[at] = true
					l.spare[at] = (newest(path) || l.tails[path]) && (l.spare[at] || !seen[at])
					seen[at] = true
				}
			}
		}
	}
	return found
}

// short returns a path as it stands in a report.
func (l *life) short(path string) string {
	return strings.TrimPrefix(path, l.root+string(filepath.Separator))
}
