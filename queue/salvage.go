package queue

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

// extent is where a whole, verified batch lies in a file.
type extent struct {
	first, last wire.Seq
	offset      int64
	size        int
	sum         [4]byte // the batch's checksum
}

// salvageTries is how often a file may fail to be read by the system before it is
// searched, and before what is not found then counts as lost.
const salvageTries = 5

// An opening tries files that the system cannot read again after tryPause, for
// openPatience in all: longer than a disk's controller needs for a reset, and an agent
// on a disk with a bad sector still starts within five seconds.
const (
	tryPause     = 200 * time.Millisecond
	openPatience = 3 * time.Second
)

// straightFor is how long the segment files' names, once compared with their
// heads, are believed where numbers are not found.
const straightFor = time.Second

var batchMagic = []byte("FPB\x01")

// scan searches a file's bytes for batches of a lane, without trusting any of
// the database's pages: each batch stands alone and has its own checksum. It
// returns them in ascending order. Of those that contradict each other none is
// returned: one of them is the rest of a commit that was answered with an error.
// An error of the system while reading does not end the search; it is returned
// beside what was found.
func scan(path string, lane wire.Lane) (found []extent, err error) {
	f, err := openShared(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &damage{path, fmt.Errorf("it is not a file but %s", info.Mode())}
	}
	end := info.Size() // a disk that reads nothing does not tell where the file ends
	buf := make([]byte, min(2*wire.MaxBatchSize, end+1))
	for pos := int64(0); ; {
		n, rerr := readSkipping(f, buf, pos)
		err = cmp.Or(err, rerr)
		b := buf[:n]
		next := max(n-len(batchMagic)+1, 1) // a magic may begin in the last three bytes
		for i := 0; ; {
			k := bytes.Index(b[i:], batchMagic)
			if k < 0 {
				break
			}
			i += k
			size, serr := wire.BatchSize(b[i:])
			if i > 0 && n == len(buf) && (i+60 > n || serr == nil && i+size > n) {
				next = i // look at it again with more bytes behind it
				break
			}
			if serr == nil && i+size <= n {
				if p, perr := wire.ParseBatch(b[i : i+size]); perr == nil && p.Lane == lane {
					e := extent{p.First, p.Last(), pos + int64(i), size, [4]byte(b[i+size-4:])}
					found = append(found, e)
					i += size
					continue
				}
			}
			i++
		}
		if pos += int64(next); n < len(buf) || pos >= end {
			return consistent(found), err
		}
	}
}

// consistent sorts extents, leaves one of each, and none of those that overlap.
func consistent(found []extent) []extent {
	slices.SortFunc(found, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last), bytes.Compare(a.sum[:], b.sum[:]))
	})
	found = slices.CompactFunc(found, func(a, b extent) bool { return a.first == b.first && a.last == b.last && a.sum == b.sum })
	bad := make([]bool, len(found))
	for i, reach := 1, 0; i < len(found); i++ {
		if found[i].first <= found[reach].last {
			bad[i], bad[reach] = true, true
		}
		if found[i].last > found[reach].last {
			reach = i
		}
	}
	var out []extent
	for i, e := range found {
		if !bad[i] {
			out = append(out, e)
		}
	}
	return out
}

// readSkipping fills buf from pos on. Pages that the system cannot read are
// zeros, and the first such error is returned. Less than len(buf) is the end of
// the file.
func readSkipping(f *os.File, buf []byte, pos int64) (n int, err error) {
	const page = 4096
	n, err = f.ReadAt(buf, pos)
	if err == nil || errors.Is(err, io.EOF) {
		return n, nil
	}
	for n = 0; n < len(buf); {
		part := buf[n:min(n+page, len(buf))]
		k, perr := f.ReadAt(part, pos+int64(n))
		if errors.Is(perr, io.EOF) {
			return n + k, err
		}
		if perr != nil {
			clear(part)
		}
		n += len(part)
	}
	return n, err
}

// load reads an extent's batch again.
func (e *extent) load(path string) ([]byte, error) {
	f, err := openShared(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, e.size)
	if _, err := f.ReadAt(b, e.offset); err != nil {
		return nil, err
	}
	return b, nil
}

// salvage looks for the batch of number g.from in the bytes of segment i, which
// the database does not show any more, and of those whose heads cannot be read
// either: a file may have the name of another. What it searches and finds damaged
// is kept in quarantine. Without the batch the gap is returned, as far as nothing
// behind it was found.
func (fs *files) salvage(s *state, i int, g *gap) ([]block, error) {
	if fs.look && !fs.search || sabotage.NoSalvage {
		return nil, g
	}
	if !fs.look && time.Since(fs.checked) > straightFor {
		return nil, fmt.Errorf("%w: %w", errAstray, g)
	}
	for k := -1; k < len(fs.segs)-1; k++ { // the tail is never one that nobody can read
		j := k
		if k < 0 {
			j = i
		} else if _, err := fs.head(k); k == i || !isDamage(err) {
			continue
		}
		if j < 0 {
			continue
		}
		b, err := fs.searchIn(s, fs.segs[j], g, j != i || g.reason == wire.ReasonCorrupt)
		if b != nil || err != nil {
			return b, err
		}
	}
	if b, err := fs.below(s, i, g); b != nil || !errors.Is(err, g) {
		return b, err
	}
	if b, err := fs.inAside(s, g); b != nil || err != nil {
		return b, err
	}
	return nil, g
}

// below looks for number g.from in the files before segment i. One whose head cannot be
// read is perhaps there by mistake, and hides those before it. And the commits that
// were written again into a newer file are still in the older one: as its index shows them,
// for beyond that may lie what was refused (rule 5).
func (fs *files) below(s *state, i int, g *gap) ([]block, error) {
	if i < 0 || i == len(fs.segs)-1 {
		return nil, g
	}
	_, err := fs.head(i)
	hidden := isDamage(err)
	for k, tries := i-1, 0; k >= 0 && tries < maxBelow; k-- {
		if _, err := fs.head(k); isDamage(err) {
			continue
		}
		tries++
		blocks, err := fs.readUpTo(s, k, g.from, g.to)
		if err == nil {
			return blocks, nil
		}
		if none := (*gap)(nil); hidden && tries == 1 && errors.As(err, &none) && none.from == g.from {
			g.to = min(g.to, none.to)
		}
	}
	return nil, g
}

// maxBelow is how many files before a damaged one are asked for what it lacks.
const maxBelow = 3

// searchIn looks for the batch of number g.from in the bytes of a segment; nil if it
// is not there, and then the gap ends before the next one that is. damaged says
// that the file is known to be.
func (fs *files) searchIn(s *state, seg segment, g *gap, damaged bool) ([]block, error) {
	path := fs.path(seg)
	found, ok := fs.salvaged[seg.ordinal]
	if !ok {
		var err error
		found, err = scan(path, fs.lane)
		if isNotExist(err) || isDamage(err) {
			return nil, nil
		}
		if err != nil && !fs.look && fs.try(seg.ordinal) < 2*salvageTries { // for one who only looks, what cannot be read now is not there
			return nil, fmt.Errorf("segment %s cannot be read now: %w", path, err)
		}
		if fs.salvaged == nil {
			fs.salvaged = map[uint64][]extent{}
		}
		fs.salvaged[seg.ordinal] = found
	}
	k := slices.IndexFunc(found, func(e extent) bool { return e.last >= g.from })
	if k < 0 && !damaged {
		return nil, nil
	}
	if !fs.look {
		if err := keepCopy(fs.dir, seg.name()); err != nil {
			return nil, fmt.Errorf("segment %s is damaged (%w) and no copy of it could be kept: %w", path, g, err)
		}
	}
	if k < 0 {
		return nil, nil
	}
	if e := found[k]; e.first > g.from {
		g.to = min(g.to, e.first-1)
		return nil, nil
	}
	data, err := found[k].load(path)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", path, err)
	}
	b, err := verify(s, fs.lane, data)
	if err != nil {
		g.cause = err
		return nil, nil
	}
	return []block{b}, nil
}

// keepCopy puts a file's bytes into the folder quarantine, once. A copy gets its name
// when it is whole: half of one would count as kept, and be all that is left once the
// file is deleted. Nor is anything written under that name, which may be the file's own.
func keepCopy(dir, name string) (err error) {
	folder := filepath.Join(dir, quarantine)
	to := filepath.Join(folder, name)
	if _, err := os.Stat(to); err == nil {
		return nil
	} else if !isNotExist(err) {
		return err
	}
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(dir, name), to); err == nil || errors.Is(err, fs.ErrExist) {
		return durable.SyncDir(folder)
	}
	from, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer from.Close()
	temp := filepath.Join(folder, tempPrefix+name+tempSuffix)
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			durable.RemoveFile(temp) // best effort: the next try writes over it
		}
	}()
	_, err = io.Copy(f, from)
	if err == nil {
		err = durable.SyncFile(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = durable.RenameFile(temp, to)
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(folder)
}

// setAside moves a file or folder into the folder quarantine, under another name
// if there is one of that name.
func setAside(dir, name string) error {
	to := filepath.Join(dir, quarantine, name)
	if err := durable.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); isNotExist(err) {
			break
		} else if err != nil {
			return err
		}
		to = filepath.Join(dir, quarantine, fmt.Sprintf("%s.%d", name, i))
	}
	if err := durable.RenameFile(filepath.Join(dir, name), to); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(filepath.Dir(to)), durable.SyncDir(dir))
}
