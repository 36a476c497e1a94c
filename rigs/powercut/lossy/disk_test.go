package lossy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// kernel asks a disk what the kernel would.
type kernel struct {
	t *testing.T
	f *files
}

func newKernel(t *testing.T, o Options, seed uint64) *kernel {
	return &kernel{t, &files{d: New(o, seed), lists: map[uint64][]fuse.DirEntry{}}}
}

func header(n uint64) fuse.InHeader { return fuse.InHeader{NodeId: n} }

func (k *kernel) ok(s fuse.Status) {
	k.t.Helper()
	if s != fuse.OK {
		k.t.Fatalf("the disk says %v", s)
	}
}

func (k *kernel) mkdir(folder uint64, name string) uint64 {
	k.t.Helper()
	var out fuse.EntryOut
	k.ok(k.f.Mkdir(nil, &fuse.MkdirIn{InHeader: header(folder), Mode: 0o700}, name, &out))
	return out.NodeId
}

func (k *kernel) create(folder uint64, name string) uint64 {
	k.t.Helper()
	var out fuse.CreateOut
	k.ok(k.f.Create(nil, &fuse.CreateIn{InHeader: header(folder), Mode: 0o600}, name, &out))
	return out.NodeId
}

func (k *kernel) write(file uint64, text string) fuse.Status {
	_, s := k.f.Write(nil, &fuse.WriteIn{InHeader: header(file)}, []byte(text))
	return s
}

func (k *kernel) sync(file uint64) fuse.Status {
	return k.f.Fsync(nil, &fuse.FsyncIn{InHeader: header(file)})
}

func (k *kernel) syncDir(folder uint64) fuse.Status {
	return k.f.FsyncDir(nil, &fuse.FsyncIn{InHeader: header(folder)})
}

func (k *kernel) rename(from uint64, name string, to uint64, newName string) {
	k.t.Helper()
	k.ok(k.f.Rename(nil, &fuse.RenameIn{InHeader: header(from), Newdir: to}, name, newName))
}

func (k *kernel) unlink(folder uint64, name string) {
	k.t.Helper()
	h := header(folder)
	k.ok(k.f.Unlink(nil, &h, name))
}

// listing is the names below the root with the numbers of their nodes.
func listing(d *Disk) string {
	var list []string
	var visit func(n *node, path string)
	visit = func(n *node, path string) {
		for _, name := range slices.Sorted(maps.Keys(n.seen)) {
			list = append(list, fmt.Sprintf("%s%s=%d", path, name, n.seen[name]))
			visit(d.nodes[n.seen[name]], path+name+"/")
		}
	}
	visit(d.nodes[root], "")
	return strings.Join(list, " ")
}

// images returns the different listings of many images of a cut.
func (k *kernel) images() map[string]bool {
	k.f.d.Cut()
	found := map[string]bool{}
	for seed := range uint64(300) {
		found[listing(k.f.d.Image(seed))] = true
	}
	return found
}

func (k *kernel) mustLeave(want ...string) {
	k.t.Helper()
	got := slices.Sorted(maps.Keys(k.images()))
	if slices.Sort(want); !slices.Equal(got, want) {
		k.t.Errorf("a cut leaves one of\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// Two folders, a file in each, of which one is renamed: nodes 2 and 3, 4 and 5.
func (k *kernel) twoFolders() {
	a, b := k.mkdir(root, "a"), k.mkdir(root, "b")
	k.ok(k.syncDir(root))
	k.create(a, "x")
	k.create(b, "y")
	k.rename(a, "x", a, "z")
}

func TestJournaledNamesSurviveInOrder(t *testing.T) {
	k := newKernel(t, Options{Order: Journaled}, 1)
	k.twoFolders()
	k.mustLeave("a=2 b=3", "a=2 a/x=4 b=3", "a=2 a/x=4 b=3 b/y=5", "a=2 a/z=4 b=3 b/y=5")
}

func TestNamesPerFolderSurviveInOrderWithinIt(t *testing.T) {
	k := newKernel(t, Options{Order: PerFolder}, 1)
	k.twoFolders()
	k.mustLeave("a=2 b=3", "a=2 a/x=4 b=3", "a=2 a/z=4 b=3", "a=2 b=3 b/y=5", "a=2 a/x=4 b=3 b/y=5", "a=2 a/z=4 b=3 b/y=5")
}

func TestLooseNamesSurviveUnlessTheyNeedALostOne(t *testing.T) {
	k := newKernel(t, Options{Order: Loose}, 1)
	k.create(root, "x") // 2
	k.create(root, "y") // 3
	k.rename(root, "x", root, "z")
	k.mustLeave("", "x=2", "z=2", "y=3", "x=2 y=3", "y=3 z=2")
}

func TestARenameBetweenFoldersIsInBothOrInNeither(t *testing.T) {
	for _, o := range []Order{Journaled, PerFolder, Loose} {
		k := newKernel(t, Options{Order: o}, 1)
		a, b := k.mkdir(root, "a"), k.mkdir(root, "b")
		k.create(a, "x")
		k.ok(k.syncDir(a))
		k.ok(k.syncDir(root))
		k.rename(a, "x", b, "x")
		k.mustLeave("a=2 a/x=4 b=3", "a=2 b=3 b/x=4")
	}
}

// An fsync of a folder brings its names, whatever the order; without OwnName it
// does not bring its own.
func TestSyncOfAFolder(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{Order: Journaled}, []string{"a=2 a/x=3"}},
		{Options{Order: PerFolder}, []string{"", "a=2 a/x=3"}},
		{Options{Order: Loose}, []string{"", "a=2 a/x=3"}},
		{Options{Order: PerFolder, OwnName: Always}, []string{"a=2 a/x=3"}},
		{Options{Order: PerFolder, OwnName: Always, Lies: Lies{Folders: true}}, []string{"", "a=2", "a=2 a/x=3"}},
	} {
		k := newKernel(t, c.o, 1)
		a := k.mkdir(root, "a")
		k.create(a, "x")
		k.ok(k.syncDir(a))
		k.mustLeave(c.want...)
	}
}

func TestSyncOfAFile(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []string // what the file holds, "-" where its name is gone
	}{
		{Options{}, []string{"new"}}, // the length is in the journal, and the name before it
		{Options{Order: PerFolder}, []string{"-", "new"}},
		{Options{Order: PerFolder, OwnName: Always}, []string{"new"}},
		{Options{Order: PerFolder, OwnName: Always, Lies: Lies{Files: true}}, []string{"", "\x00\x00\x00", "-", "new"}},
	} {
		k := newKernel(t, c.o, 1)
		k.write(k.create(root, "x"), "new")
		k.ok(k.sync(2))
		k.f.d.Cut()
		found := map[string]bool{}
		for seed := range uint64(300) {
			text, img := "-", k.f.d.Image(seed)
			if n := img.nodes[2]; n != nil {
				text = string(seenBy(&n.content))
			}
			found[text] = true
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: the file holds one of %q, want %q", c.o, got, c.want)
		}
	}
}

// Whatever happens, a synced folder's names are there after a cut that follows at
// once, and two images by one seed are the same.
func TestSyncedNamesStay(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		k := newKernel(t, Options{Order: Order(r.IntN(3)), OwnName: OwnName(r.IntN(3))}, seed)
		folders := []uint64{k.mkdir(root, "a"), k.mkdir(root, "b")}
		k.ok(k.syncDir(root))
		for range 20 {
			f, g := folders[r.IntN(2)], folders[r.IntN(2)]
			names := slices.Sorted(maps.Keys(k.f.d.nodes[f].seen))
			switch name := fmt.Sprint(r.IntN(5)); {
			case len(names) == 0 || r.IntN(3) == 0:
				if k.f.d.nodes[f].seen[name] == 0 {
					k.create(f, name)
				}
			case r.IntN(2) == 0:
				k.unlink(f, names[0])
			default:
				k.rename(f, names[0], g, name)
			}
		}
		f := folders[r.IntN(2)]
		k.ok(k.syncDir(f))
		want := maps.Clone(k.f.d.nodes[f].seen)
		k.f.d.Cut()
		img := k.f.d.Image(seed)
		if !maps.Equal(img.nodes[f].seen, want) {
			t.Fatalf("seed %d: the folder has %v, synced were %v", seed, img.nodes[f].seen, want)
		}
		if again := k.f.d.Image(seed); listing(again) != listing(img) {
			t.Fatalf("seed %d: two images by one seed differ", seed)
		}
	}
}

func TestATrapSpringsWhereItIsSet(t *testing.T) {
	for _, c := range []struct {
		trap   Trap
		answer fuse.Status // to the second write
		synced string      // what its sync would have brought
	}{
		{Trap{Event: Write, N: 2, When: Before}, fuse.EIO, "one"},
		{Trap{Event: Write, N: 2, When: Unanswered}, fuse.EIO, "two"},
		{Trap{Event: Write, N: 2, When: After}, fuse.OK, "two"},
		{Trap{Event: Rename, N: 1, When: Before, Limit: 4}, fuse.EIO, "one"},
	} {
		k := newKernel(t, Options{}, 1)
		k.f.d.Arm(c.trap)
		file := k.create(root, "x")
		k.ok(k.write(file, "one"))
		k.ok(k.sync(file))
		if s := k.write(file, "two"); s != c.answer {
			t.Errorf("%s: the write is answered %v, want %v", c.trap, s, c.answer)
		}
		if s := k.sync(file); s != fuse.EIO {
			t.Errorf("%s: a sync after it is answered %v", c.trap, s)
		}
		select {
		case <-k.f.d.Done():
		default:
			t.Errorf("%s: the power is still on", c.trap)
		}
		if got := string(seenBy(&k.f.d.nodes[file].content)); got != c.synced {
			t.Errorf("%s: the disk was left with %q, want %q", c.trap, got, c.synced)
		}
		if at, ok := k.f.d.Sprung(); !ok || at.Event != Write || at.N != 2 {
			t.Errorf("%s: it says that it sprung %s, %v", c.trap, at, ok)
		}
	}
}

func TestATrapCanSpareThePower(t *testing.T) {
	k := newKernel(t, Options{}, 1)
	sprung := 0
	k.f.d.Arm(Trap{Event: Create, N: 1, When: Before, Spring: func() { sprung++ }})
	k.ok(k.write(k.create(root, "x"), "one"))
	k.create(root, "y")
	if sprung != 1 {
		t.Errorf("sprung %d times", sprung)
	}
}

func TestNothingIsAnsweredWithoutPower(t *testing.T) {
	k := newKernel(t, Options{}, 1)
	file := k.create(root, "x")
	k.f.d.Cut()
	h := header(root)
	var entry fuse.EntryOut
	var open fuse.OpenOut
	_, read := k.f.Read(nil, &fuse.ReadIn{InHeader: header(file)}, make([]byte, 1))
	for what, s := range map[string]fuse.Status{
		"write": k.write(file, "one"), "sync": k.sync(file), "sync of a folder": k.syncDir(root), "read": read,
		"lookup":  k.f.Lookup(nil, &h, "x", &entry),
		"getattr": k.f.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(file)}, &fuse.AttrOut{}),
		"setattr": k.f.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(file), Valid: fuse.FATTR_SIZE}}, &fuse.AttrOut{}),
		"mkdir":   k.f.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, "d", &entry),
		"unlink":  k.f.Unlink(nil, &h, "x"), "rmdir": k.f.Rmdir(nil, &h, "x"),
		"rename":  k.f.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: root}, "x", "y"),
		"open":    k.f.Open(nil, &fuse.OpenIn{InHeader: header(file)}, &open),
		"opendir": k.f.OpenDir(nil, &fuse.OpenIn{InHeader: h}, &open),
	} {
		if s != fuse.EIO {
			t.Errorf("%s is answered %v", what, s)
		}
	}
}

func TestFoldersRefuseWhatFoldersRefuse(t *testing.T) {
	k := newKernel(t, Options{}, 1)
	dir := k.mkdir(root, "d")
	k.create(dir, "x")
	h, none := header(root), header(99)
	var entry fuse.EntryOut
	for what, c := range map[string]struct{ got, want fuse.Status }{
		"mkdir twice":           {k.f.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, "d", &entry), fuse.Status(syscall.EEXIST)},
		"unlink of a folder":    {k.f.Unlink(nil, &h, "d"), fuse.Status(syscall.EISDIR)},
		"rmdir of a full one":   {k.f.Rmdir(nil, &h, "d"), fuse.Status(syscall.ENOTEMPTY)},
		"unlink of nothing":     {k.f.Unlink(nil, &h, "n"), fuse.ENOENT},
		"lookup of nothing":     {k.f.Lookup(nil, &h, "n", &entry), fuse.ENOENT},
		"rename of nothing":     {k.f.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: root}, "n", "m"), fuse.ENOENT},
		"rename onto a folder":  {k.f.Rename(nil, &fuse.RenameIn{InHeader: header(dir), Newdir: root}, "x", "d"), fuse.Status(syscall.EEXIST)},
		"a folder that is gone": {k.f.Lookup(nil, &none, "x", &entry), fuse.Status(syscall.ESTALE)},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
}
