package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var arches = flag.String("arches", "amd64", "make and look into releases for these `architectures`")

// names are what an architecture is called by each kind of package, and by the
// programs' own heads.
var names = map[string]struct {
	deb, rpm, apk string
	machine       elf.Machine
	class         elf.Class
}{
	"amd64":   {"amd64", "x86_64", "x86_64", elf.EM_X86_64, elf.ELFCLASS64},
	"arm64":   {"arm64", "aarch64", "aarch64", elf.EM_AARCH64, elf.ELFCLASS64},
	"armv7":   {"armhf", "armv7hl", "armv7", elf.EM_ARM, elf.ELFCLASS32},
	"riscv64": {"riscv64", "riscv64", "riscv64", elf.EM_RISCV, elf.ELFCLASS64},
}

// TestRelease makes what is released and looks into each kind of it.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"-out", dir, "-arch", *arches, "-version", "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"-out", dir, "-sums"}); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dir, sumsName))
	list := strings.Split(*arches, ",")
	if err != nil || bytes.Count(sums, []byte("\n")) != 1+9*len(list) {
		t.Errorf("sums: %v\n%s", err, sums)
	}
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(b)) != sum {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, arch := range list {
		t.Run(arch, func(t *testing.T) {
			t.Run("tar.gz", func(t *testing.T) { checkArchive(t, dir, arch) })
			for _, program := range []string{"agent", "collector"} {
				t.Run(program+".deb", func(t *testing.T) { checkDeb(t, dir, arch, program) })
				t.Run(program+".rpm", func(t *testing.T) { checkRPM(t, dir, arch, program) })
				t.Run(program+".apk", func(t *testing.T) { checkAPK(t, dir, arch, program) })
				t.Run(program+".cdx.json", func(t *testing.T) { checkBill(t, dir, arch, program) })
			}
		})
	}
}

func checkArchive(t *testing.T, dir, arch string) {
	root := "fieldpost_1.2.3_linux_" + arch
	files := untar(t, filepath.Join(dir, root+".tar.gz"))
	for _, name := range []string{"install.sh", "LICENSE", "OPERATIONS.md", "prometheus/fieldpost-alerts.yml", "bin/fieldpost-agent", "bin/fieldpost-collector", "systemd/fieldpost-agent.service",
		"systemd/fieldpost-collector.service", "etc/agent.yaml", "etc/collector.yaml", "licenses/fieldpost-agent.txt", "sbom/fieldpost-agent.cdx.json", "completion/fieldpost-agent.bash"} {
		if len(files[root+"/"+name]) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	checkProgram(t, arch, files[root+"/bin/fieldpost-agent"])
	checkProgram(t, arch, files[root+"/bin/fieldpost-collector"])
	if licences := string(files[root+"/licenses/fieldpost-agent.txt"]); !strings.Contains(licences, "go.etcd.io/bbolt") || !strings.Contains(licences, "Go go1.") {
		t.Errorf("licences: %.300s", licences)
	}
}

// checkProgram sees that a program is for an architecture, and needs no library of
// the machine's.
func checkProgram(t *testing.T, arch string, content []byte) {
	t.Helper()
	program, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := program.ImportedLibraries()
	if want := names[arch]; program.Machine != want.machine || program.Class != want.class || err != nil || len(libraries) > 0 {
		t.Errorf("it is for %v, %v, with libraries %q, %v", program.Machine, program.Class, libraries, err)
	}
	t.Logf("%.1f MB", float64(len(content))/1e6)
}

func checkDeb(t *testing.T, dir, arch, program string) {
	file := filepath.Join(dir, "fieldpost-"+program+"_1.2.3_"+arch+".deb")
	if fields := tool(t, "dpkg-deb", "-f", file, "Version", "Architecture", "Depends"); fields != "Version: 1.2.3\nArchitecture: "+names[arch].deb+"\nDepends: passwd, init-system-helpers\n" {
		t.Errorf("%s", fields)
	}
	if conffiles := tool(t, "dpkg-deb", "-I", file, "conffiles"); strings.TrimSpace(conffiles) != "/etc/fieldpost/"+program+".yaml" {
		t.Errorf("conffiles %q", conffiles)
	}
	for _, script := range []string{"preinst", "postinst", "prerm", "postrm"} {
		text := tool(t, "dpkg-deb", "-I", file, script)
		if !strings.HasPrefix(text, "#!/bin/sh\n") || strings.Contains(text, "@") || strings.Contains(text, include) {
			t.Errorf("%s:\n%s", script, text)
		}
	}
	if list := tool(t, "dpkg-deb", "-c", file); !strings.Contains(list, "./usr/lib/systemd/system/fieldpost-"+program+".service") || !strings.Contains(list, "rw-r----- root/root") {
		t.Errorf("it has\n%s", list)
	}
}

func checkRPM(t *testing.T, dir, arch, program string) {
	file := filepath.Join(dir, "fieldpost-"+program+"_1.2.3_"+arch+".rpm")
	if out := tool(t, "rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{ARCH} %{LICENSE} %{BUILDHOST}", file); out != "fieldpost-"+program+" 1.2.3 "+names[arch].rpm+" Apache-2.0 fieldpost" {
		t.Errorf("%s", out)
	}
	if out := tool(t, "rpm", "-qpc", file); strings.TrimSpace(out) != "/etc/fieldpost/"+program+".yaml" {
		t.Errorf("configuration %q", out)
	}
	if out := tool(t, "rpm", "-qp", "--scripts", file); strings.Contains(out, "@") || !strings.Contains(out, "preuninstall") {
		t.Errorf("scripts:\n%s", out)
	}
}

func checkAPK(t *testing.T, dir, arch, program string) {
	files := untar(t, filepath.Join(dir, "fieldpost-"+program+"_1.2.3_"+arch+".apk"))
	if info := string(files[".PKGINFO"]); !strings.Contains(info, "pkgver = 1.2.3\n") || !strings.Contains(info, "arch = "+names[arch].apk+"\n") {
		t.Errorf(".PKGINFO:\n%s", info)
	}
	for _, name := range []string{".pre-install", ".post-install", ".pre-upgrade", ".post-upgrade", ".pre-deinstall", "etc/fieldpost/" + program + ".yaml"} {
		if len(files[name]) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	checkProgram(t, arch, files["usr/bin/fieldpost-"+program])
}

func checkBill(t *testing.T, dir, arch, program string) {
	b, err := os.ReadFile(filepath.Join(dir, "fieldpost-"+program+"_1.2.3_linux_"+arch+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got bom
	if err := json.Unmarshal(b, &got); err != nil || got.Format != "CycloneDX" || got.Metadata.Component.Version != "1.2.3" {
		t.Fatalf("%v\n%s", err, b)
	}
	library := map[string]string{"agent": "go.etcd.io/bbolt@v1.", "collector": "github.com/prometheus/client_golang@v1."}[program]
	if !slices.ContainsFunc(got.Components, func(c component) bool { return strings.HasPrefix(c.PURL, "pkg:golang/"+library) }) || len(got.Components) < 10 {
		t.Errorf("components %+v", got.Components)
	}
}

// tool runs a program that looks into packages; where it is missing the test is
// skipped by name, but not in CI.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must have %s: %v", name, err)
		}
		t.Skipf("%s is not here: %v", name, err)
	}
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// untar returns the files of an archive; an apk is several in a row.
func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatStandsForNothingIsAnError(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "install/packages"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "install/packages/x"), []byte("echo @NAME@ @NOTHING@\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := release{root: root}
	if text, err := r.fill(&program{facts: &facts{name: "a"}, arch: "amd64"}, "x"); err == nil {
		t.Errorf("%q", text)
	}
}
