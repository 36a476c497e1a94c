package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tarball makes the archive for machines that take no package: the programs, what
// belongs to them, and install.sh.
func (r *release) tarball(arch string, all []*program) (err error) {
	if !slices.Contains(r.formats, "tar.gz") {
		return nil
	}
	name := fmt.Sprintf("fieldpost_%s_linux_%s", r.version, arch)
	type entry struct {
		source, name string
		mode         int64
	}
	files := []entry{
		{filepath.Join(r.root, "install/install.sh"), "install.sh", 0o755},
		{filepath.Join(r.root, "LICENSE"), "LICENSE", 0o644},
		{filepath.Join(r.root, "README.md"), "README.md", 0o644},
		{filepath.Join(r.root, "CHANGELOG.md"), "CHANGELOG.md", 0o644},
		{filepath.Join(r.root, "docs/LINUX.md"), "LINUX.md", 0o644},
		{filepath.Join(r.root, "docs/OPERATIONS.md"), "OPERATIONS.md", 0o644},
		{filepath.Join(r.root, "docs/METRICS.md"), "METRICS.md", 0o644},
		{filepath.Join(r.root, "docs/DOCTOR.md"), "DOCTOR.md", 0o644},
		{filepath.Join(r.root, "install/prometheus/fieldpost-alerts.yml"), "prometheus/fieldpost-alerts.yml", 0o644},
	}
	for _, p := range all {
		files = append(files,
			entry{p.path(), "bin/" + p.name, 0o755},
			entry{filepath.Join(p.stage, p.program+".yaml"), "etc/" + p.program + ".yaml", 0o644},
			entry{filepath.Join(p.stage, p.name+".service"), "systemd/" + p.name + ".service", 0o644},
			entry{filepath.Join(p.stage, p.name+".cdx.json"), "sbom/" + p.name + ".cdx.json", 0o644},
			entry{filepath.Join(p.stage, "LICENSES-THIRD-PARTY.txt"), "licenses/" + p.name + ".txt", 0o644},
			entry{filepath.Join(p.stage, "completion.bash"), "completion/" + p.name + ".bash", 0o644},
			entry{filepath.Join(p.stage, "completion.zsh"), "completion/_" + p.name, 0o644},
			entry{filepath.Join(p.stage, "completion.fish"), "completion/" + p.name + ".fish", 0o644},
		)
	}
	slices.SortFunc(files, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	f, err := os.Create(filepath.Join(r.out, name+".tar.gz"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, e := range files {
		content, err := os.ReadFile(e.source)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + e.name, Mode: e.mode, Size: int64(len(content)), ModTime: r.time, Uname: "root", Gname: "root", Format: tar.FormatPAX}); err != nil {
			return err
		}
		if _, err := t.Write(content); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}
