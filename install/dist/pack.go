package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk" // the packagers register themselves
	_ "github.com/goreleaser/nfpm/v2/deb"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// include is what a script says to take in another file.
const include = "#include "

// pack makes the packages of a program.
func (r *release) pack(p *program) error {
	if err := r.scripts(p); err != nil {
		return err
	}
	if err := r.stamp(p.stage); err != nil {
		return err
	}
	text, err := r.fill(p, "package.yaml")
	if err != nil {
		return err
	}
	config, err := nfpm.Parse(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("package.yaml: %w", err)
	}
	for _, format := range r.formats {
		if format == "tar.gz" {
			continue
		}
		if err := r.packAs(format, p, config); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

func (r *release) packAs(format string, p *program, config nfpm.Config) (err error) {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	info.MTime = r.time
	for _, c := range info.Contents {
		if c.FileInfo != nil {
			c.FileInfo.MTime = r.time
		}
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.out, fmt.Sprintf("%s_%s_%s.%s", p.name, r.version, p.arch, format)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return packager.Package(info, f)
}

// scripts writes the scripts of all formats into the stage.
func (r *release) scripts(p *program) error {
	for _, format := range []string{"deb", "rpm", "apk"} {
		list, err := os.ReadDir(filepath.Join(r.root, "install/packages/scripts", format))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(p.stage, format), 0o755); err != nil {
			return err
		}
		for _, e := range list {
			text, err := r.fill(p, filepath.Join("scripts", format, e.Name()))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(p.stage, format, e.Name()), []byte(text), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill reads a file of install/packages, takes in what it includes, and puts in what
// stands between @.
func (r *release) fill(p *program, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(r.root, "install/packages", name))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		other, ok := strings.CutPrefix(line, include)
		if !ok {
			out.WriteString(line)
			continue
		}
		b, err := os.ReadFile(filepath.Join(r.root, "install/packages/scripts", strings.TrimSpace(other)))
		if err != nil {
			return "", err
		}
		out.Write(b)
	}
	text := strings.NewReplacer("@NAME@", p.name, "@PROGRAM@", p.program, "@ARCH@", platforms[p.arch].nfpm, "@VERSION@", r.version, "@STAGE@", p.stage, "@ROOT@", r.root,
		"@SUMMARY@", p.summary, "@DATA@", p.data, "@STATE@", p.state, "@NEXT@", p.next, "@FORMAT@", strconv.Itoa(p.format)).Replace(out.String())
	for _, word := range strings.Fields(text) {
		if word = strings.Trim(word, `"'.,;:`); len(word) > 2 && word[0] == '@' && strings.ContainsRune(word[1:], '@') {
			return "", fmt.Errorf("%s: nothing stands for %s", name, word)
		}
	}
	return text, nil
}

// stamp gives all files below dir the release's time.
func (r *release) stamp(dir string) error {
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	slices.Reverse(all) // a folder after what is in it
	for _, path := range all {
		err = errors.Join(err, os.Chtimes(path, r.time, r.time))
	}
	return err
}
