package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// release is what is to be made.
type release struct {
	root    string    // of the source
	out     string    // folder for what is made
	work    string    // folder for what that is made of
	version string    // semantic, without a v
	time    time.Time // of everything that has a time
	tags    string    // build tags besides those of every release
	formats []string  // of packages, and tar.gz
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("dist", flag.ContinueOnError)
	root := f.String("root", "../..", "the source's `folder`")
	out := f.String("out", "", "`folder` for what is made (default dist in the source)")
	arches := f.String("arch", "amd64,arm64,armv7,riscv64", "the `architectures`")
	formats := f.String("formats", "deb,rpm,apk,tar.gz", "the `formats`")
	version := f.String("version", "", "the `version` (default the commit's tag, else 0.0.0-pre and the commit's time)")
	tags := f.String("tags", "", "more build `tags`, for tests")
	sums := f.Bool("sums", false, "only write SHA256SUMS")
	if err := f.Parse(args); err != nil {
		return err
	}
	r := release{version: *version, tags: *tags, formats: strings.Split(*formats, ",")}
	var err error
	if r.root, err = filepath.Abs(*root); err != nil {
		return err
	}
	if r.out = filepath.Join(r.root, "dist"); *out != "" {
		if r.out, err = filepath.Abs(*out); err != nil {
			return err
		}
	}
	if *sums {
		return writeSums(r.out)
	}
	return r.make(strings.Split(*arches, ","))
}

// make makes everything for the architectures.
func (r *release) make(arches []string) (err error) {
	if err := r.identify(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "fieldpost-dist-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	script, err := os.ReadFile(filepath.Join(r.root, "install/install.sh"))
	if err == nil {
		err = os.WriteFile(filepath.Join(r.out, "install.sh"), script, 0o755)
	}
	if err != nil {
		return err
	}
	own, err := r.ask() // programs for this machine, which are asked what the packages need to know
	if err != nil {
		return err
	}
	for _, arch := range arches {
		var all []*program
		for _, facts := range own {
			p, err := r.build(facts, arch)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", facts.name, arch, err)
			}
			if err := r.pack(p); err != nil {
				return fmt.Errorf("%s for %s: %w", facts.name, arch, err)
			}
			all = append(all, p)
		}
		if err := r.tarball(arch, all); err != nil {
			return fmt.Errorf("tar.gz for %s: %w", arch, err)
		}
	}
	return nil
}
