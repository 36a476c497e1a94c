package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// bom is a bill of materials by CycloneDX 1.5.
type bom struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Time      string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref string   `json:"ref"`
	On  []string `json:"dependsOn"`
}

// parts returns what a program is made of: its bill of materials, and the licences of
// all in it that is not ours. Both come from what the linker wrote into the program.
func (r *release) parts(p *program) (sbom, licences []byte, err error) {
	info, err := buildinfo.ReadFile(p.path())
	if err != nil {
		return nil, nil, err
	}
	if sbom, err = r.billOf(p, info); err != nil {
		return nil, nil, err
	}
	licences, err = r.licencesOf(p, info)
	return sbom, licences, err
}

func (r *release) billOf(p *program, info *debug.BuildInfo) ([]byte, error) {
	purl := func(path, version string) string { return "pkg:golang/" + path + "@" + version }
	main := component{Type: "application", Ref: purl(info.Path, r.version), Name: p.name, Version: r.version, PURL: purl(info.Main.Path, r.version)}
	main.Properties = append(main.Properties, property{"os", "linux"}, property{"architecture", p.arch})
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
			main.Properties = append(main.Properties, property{s.Key, s.Value})
		}
	}
	b := bom{
		Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata: metadata{r.time.Format(time.RFC3339), main},
	}
	std := strings.TrimPrefix(info.GoVersion, "go")
	b.Components = append(b.Components, component{Type: "library", Ref: purl("std", std), Name: "std", Version: std, PURL: purl("std", std)})
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Components = append(b.Components, component{Type: "library", Ref: purl(m.Path, m.Version), Name: m.Path, Version: m.Version, PURL: purl(m.Path, m.Version),
			Properties: []property{{"go.sum", m.Sum}}}) // of the module's files, as go.sum has it
	}
	on := dependency{Ref: main.Ref}
	for _, c := range b.Components {
		on.On = append(on.On, c.Ref)
	}
	b.Dependencies = []dependency{on}
	out, err := json.MarshalIndent(&b, "", "  ")
	return append(out, '\n'), err
}

// licencesOf returns the licences of the modules in a program, and of Go.
func (r *release) licencesOf(p *program, info *debug.BuildInfo) ([]byte, error) {
	goroot, err := r.command(nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "What %s is made of besides its own code, and under which licences.\n", p.name)
	if err := copyLicences(&b, "Go "+info.GoVersion, strings.TrimSpace(string(goroot))); err != nil {
		return nil, err
	}
	for _, m := range info.Deps {
		out, err := r.command(nil, "go", "list", "-m", "-f", "{{.Dir}}", m.Path)
		if err != nil {
			return nil, err
		}
		if err := copyLicences(&b, m.Path+" "+m.Version, strings.TrimSpace(string(out))); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// copyLicences appends the licence files of a folder. None is an error: what is under
// no licence cannot be given away.
func copyLicences(b *bytes.Buffer, what, dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	found := false
	for _, e := range list {
		upper := strings.ToUpper(e.Name())
		licence := strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING")
		if e.IsDir() || !licence && !strings.HasPrefix(upper, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		found = found || licence
		fmt.Fprintf(b, "\n%s\n%s: %s\n%s\n\n%s\n", strings.Repeat("=", 78), what, e.Name(), strings.Repeat("=", 78), bytes.TrimSpace(text))
	}
	if !found {
		return fmt.Errorf("%s: no licence is in %s", what, dir)
	}
	return nil
}
