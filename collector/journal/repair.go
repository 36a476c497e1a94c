package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// Repaired is what [Repair] found and did. As JSON its fields are named as tagged
// here.
type Repaired struct {
	Store       wire.StoreID `json:"store"`
	Done        bool         `json:"done"`                   // the steps were taken; false: they would be
	Steps       []RepairStep `json:"steps"`                  // empty: there is nothing to repair
	LostRecords uint64       `json:"lost_records,omitempty"` // that cannot be read any more
	NewStore    wire.StoreID `json:"new_store,omitzero"`     // the memory was lost: the folder is this store now, which replaces the old one
}

// RepairStep is what is done about one file.
type RepairStep struct {
	File string `json:"file"`
	What string `json:"what"`
}

// damagedDir is where repair keeps files as it found them.
const damagedDir = "damaged"

// Repair makes a damaged journal one that can be read from end to end, and a
// collector can start from. With do unset it only says what it would do.
//
// Whatever can be read stays, in its place. A segment's damaged head is made again
// from the records before it. For records that cannot be read a mark is written
// that they are gone: audit counts the numbers that they held as missing, and an
// operator may accept them. A watermark never falls below what can be read or what
// a later record or snapshot says. Files are kept as they were in the folder
// "damaged". If nothing is left that says how far the streams go, the segments are
// moved into a folder of their own, where they can be read, and this folder begins
// as a new store that replaces the old one: agents send it what no store has acked
// (rule 4).
//
// ErrLocked: a collector has the folder. ErrNone: there is no journal. An error in
// the middle leaves a journal that can be repaired again.
func Repair(ctx context.Context, dir string, do bool) (Repaired, error) {
	if _, err := os.Stat(dir); err != nil {
		return Repaired{}, fmt.Errorf("repair the journal in %s: %w: %w", dir, ErrNone, err)
	}
	lock, err := lockDir(dir)
	if err == nil {
		defer lock.Close()
		p := repair{ctx: ctx, dir: dir, do: do, found: Repaired{Done: do, Steps: []RepairStep{}}}
		if err = p.run(); err == nil {
			return p.found, nil
		}
	}
	return Repaired{}, fmt.Errorf("repair the journal in %s: %w", dir, err)
}

// repair is one Repair.
type repair struct {
	ctx   context.Context
	dir   string
	do    bool
	found Repaired

	seed     uint32
	identity identityFile
	moved    map[uint64]int64 // valid lengths of segments that are not what they were
}

func (p *repair) step(file, format string, args ...any) {
	p.found.Steps = append(p.found.Steps, RepairStep{filepath.Base(file), fmt.Sprintf(format, args...)})
}

func (p *repair) run() error {
	ordinals, err := listSegments(p.dir)
	if err != nil {
		return err
	}
	if err := p.know(ordinals); err != nil {
		return err
	}
	p.seed, p.found.Store = seed(p.identity.Store), p.identity.Store
	if p.do {
		done, err := arrange(osDisk{}, p.dir, p.identity.Store)
		for _, what := range done {
			p.step(what, "it stood under a wrong name, or is another store's")
		}
		if err != nil {
			return err
		}
		if ordinals, err = listSegments(p.dir); err != nil {
			return err
		}
	}
	removed, unknown := readRemoval(p.dir, p.identity.Store)
	m, merr := readMark(p.dir)
	extents, err := p.chain(ordinals, m, removed)
	if err != nil {
		return err
	}
	memory := replayer{seed: p.seed, lossy: true}
	if err := memory.run(extents); err != nil {
		return err
	}
	if !memory.complete {
		return p.anew()
	}
	if m.ordinal > 0 && (len(ordinals) == 0 || m.ordinal > ordinals[len(ordinals)-1]) { // the newest segment is gone
		extents = append(extents, extent{ordinal: m.ordinal, path: segmentPath(p.dir, m.ordinal), missing: true, headErr: fs.ErrNotExist})
	}
	if unknown != nil && len(extents) > 1 && extents[0].missing { // retention may have removed it
		extents = extents[1:]
	}
	if err := p.extents(extents, removed.index, m.index); err != nil {
		return err
	}
	if unknown != nil && len(extents) > 0 {
		if err := p.note(&extents[0]); err != nil {
			return err
		}
	}
	if merr != nil && !errors.Is(merr, errNoMark) {
		p.step(markName, "it is damaged: a collector makes it again")
		if p.do {
			return p.aside(filepath.Join(p.dir, markName), true)
		}
	}
	return nil
}

// chain returns the segments that count and can be found.
func (p *repair) chain(ordinals []uint64, m mark, removed removal) ([]extent, error) {
	if len(ordinals) == 0 {
		return nil, nil
	}
	newest, synced := ordinals[len(ordinals)-1], int64(0)
	if m.ordinal == newest {
		synced = m.length
	}
	t, err := findTail(segmentPath(p.dir, newest), p.identity.Store, vouch{length: synced, index: m.index, lossy: true})
	if err != nil {
		return nil, err
	}
	return chain(p.dir, p.identity.Store, ordinals, newest, t.end, removed.ordinal, m.index, readHead, true)
}

// know finds out which store this is.
func (p *repair) know(ordinals []uint64) (err error) {
	p.identity, err = readIdentity(p.dir)
	lost := errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIdentity)
	if lost && len(ordinals) == 0 {
		return ErrNone
	}
	if !lost {
		return err
	}
	id, ok := idOf(p.dir, ordinals)
	if !ok {
		return fmt.Errorf("%w: %w; the segments do not tell which store this is: restore store.json from a backup", errIdentity, err)
	}
	p.step(identityName, "it is lost or damaged: the store's id is taken from its segments, what it replaces is not known any more")
	p.identity = identityFile{Format: FolderFormat, Store: id, Created: time.Now().UTC().Truncate(time.Second)}
	if !p.do {
		return nil
	}
	o := Options{Dir: p.dir, Logger: discard}
	p.identity, err = openIdentity(&o, osDisk{}, ordinals)
	return err
}

// note makes a damaged note of what retention has removed again: up to the first
// segment that is there.
func (p *repair) note(first *extent) error {
	p.step(removedName, "the note of what retention has removed is damaged: what comes before %s counts as removed", filepath.Base(first.path))
	if !p.do {
		return nil
	}
	if err := p.aside(filepath.Join(p.dir, removedName), true); err != nil {
		return err
	}
	return writeRemoval(osDisk{}, p.dir, p.identity.Store, &removal{times: 1, ordinal: first.ordinal - 1, index: first.head.first - 1, at: time.Now()})
}

// aside keeps a file as it is in the folder of damaged ones. Its name stays free if
// gone is set, else the file stays there as well.
func (p *repair) aside(path string, gone bool) error {
	dir := filepath.Join(p.dir, damagedDir)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.Base(path))
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		to = free(to)
	}
	var err error
	if !gone {
		err = os.Link(path, to)
	}
	if gone || err != nil { // no links here: then for a moment the name is free
		err = durable.RenameFile(path, to)
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	return err
}

// anew begins a new store in the folder, because nothing tells how far the old
// one's streams go. What it holds stays readable.
func (p *repair) anew() error {
	old := filepath.Join(p.dir, "store-"+p.identity.Store.String()[:8])
	p.found.NewStore = wire.StoreID{ID: wire.NewID()}
	p.step(old, "the journal's memory is lost: its files move here, where tail, export and audit read them (--dir), and a new store begins that replaces this one; agents send it what no store has acked, "+
		"and what was stored and never acked comes twice")
	if !p.do {
		p.found.NewStore = wire.StoreID{}
		return nil
	}
	if _, err := os.Lstat(old); !errors.Is(err, fs.ErrNotExist) {
		old = free(old)
	}
	if err := durable.MkdirAll(old, 0o700); err != nil {
		return err
	}
	ordinals, err := listSegments(p.dir)
	if err != nil {
		return err
	}
	names := []string{markName, removedName}
	for _, n := range ordinals {
		names = append(names, segmentName(n))
	}
	if err := writeIdentity(osDisk{}, old, &p.identity); err != nil {
		return err
	}
	// From here on the segments are another store's, whatever happens.
	f := identityFile{Format: FolderFormat, Store: p.found.NewStore, Created: time.Now().UTC().Truncate(time.Second),
		Replaces: append([]wire.StoreID{p.identity.Store}, p.identity.Replaces...), ReplacesAny: p.identity.ReplacesAny}
	if err := writeIdentity(osDisk{}, p.dir, &f); err != nil {
		return err
	}
	for _, name := range names {
		if err := durable.RenameFile(filepath.Join(p.dir, name), filepath.Join(old, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := durable.SyncDir(old); err != nil {
		return err
	}
	return durable.SyncDir(p.dir)
}

var discard = slog.New(slog.DiscardHandler)
