// Command windows builds what Windows is installed with: for each architecture a zip
// with both programs and install.ps1, and an installer (MSI) of each program.
//
//	go run ./install/windows -version v0.4.2 -out dist
//
// It needs wixl and msibuild (Debian: wixl, msitools). With -cert and -key programs
// and installers are signed (osslsigncode), with -timestamp also that they were
// signed while the certificate was good. Everything is built on Linux; rigs/wine
// installs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// product is one program and its installer.
type product struct {
	name        string
	upgradeCode string // the same in all versions: by it an installer finds the one before
	component   string
}

var products = []product{
	{"agent", "{6F0F6A51-3F2E-4A3A-9C1B-5A1D8B2F7E01}", "0D5D2D4E-9A53-4B0E-8E66-0C1F6F3A9B11"},
	{"collector", "{6F0F6A51-3F2E-4A3A-9C1B-5A1D8B2F7E02}", "0D5D2D4E-9A53-4B0E-8E66-0C1F6F3A9B12"},
}

// job is one run.
type job struct {
	version string
	out     string // folder
	sign    signer
}

func main() {
	var j job
	flag.StringVar(&j.version, "version", "v0.0.0", "of the programs")
	flag.StringVar(&j.out, "out", "dist", "folder for what is built")
	arch := flag.String("arch", "amd64,arm64", "architectures")
	flag.StringVar(&j.sign.cert, "cert", os.Getenv("FIELDPOST_SIGN_CERT"), "certificates to sign with, PEM; none: nothing is signed")
	flag.StringVar(&j.sign.key, "key", os.Getenv("FIELDPOST_SIGN_KEY"), "key to sign with, PEM")
	flag.StringVar(&j.sign.timestamp, "timestamp", os.Getenv("FIELDPOST_SIGN_TIMESTAMP"), "address of a timestamp server (RFC 3161)")
	flag.Parse()
	for a := range strings.SplitSeq(*arch, ",") {
		if err := j.build(a); err != nil {
			fmt.Fprintf(os.Stderr, "windows: %v\n", err)
			os.Exit(1)
		}
	}
}

// build builds all of one architecture.
func (j *job) build(arch string) (err error) {
	stage, err := os.MkdirTemp("", "fieldpost-windows-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	ldflags := "-s -w -X github.com/fieldpost/fieldpost/internal/daemon.version=" + j.version
	compile := exec.Command("go", "build", "-trimpath", "-ldflags", ldflags, "-o", stage+"/", "./cmd/agent", "./cmd/collector")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=windows", "GOARCH="+arch)
	if err := run(compile); err != nil {
		return err
	}
	for _, p := range products {
		if err := j.sign.sign(filepath.Join(stage, p.name+".exe"), "Fieldpost "+p.name); err != nil {
			return err
		}
	}
	files := map[string]string{"LICENSE": "LICENSE.txt", "install/install.ps1": "install.ps1", "docs/WINDOWS.md": "WINDOWS.md"}
	for from, to := range files {
		b, err := os.ReadFile(from)
		if err == nil {
			b = []byte(strings.ReplaceAll(string(b), "\n", "\r\n"))
			err = os.WriteFile(filepath.Join(stage, to), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	name := fmt.Sprintf("fieldpost-%s-windows-%s.zip", strings.TrimPrefix(j.version, "v"), arch)
	list := []string{"agent.exe", "collector.exe", "install.ps1", "LICENSE.txt", "WINDOWS.md"}
	if err := writeZip(filepath.Join(j.out, name), stage, list); err != nil {
		return err
	}
	for _, p := range products {
		if err := j.installer(p, arch, stage); err != nil {
			return err
		}
	}
	return nil
}

// installer builds a product's MSI out of what is in the folder stage.
func (j *job) installer(p product, arch, stage string) error {
	name := fmt.Sprintf("fieldpost-%s-%s-windows-%s.msi", p.name, strings.TrimPrefix(j.version, "v"), arch)
	path, err := filepath.Abs(filepath.Join(j.out, name))
	if err != nil {
		return err
	}
	source, err := filepath.Abs("install/windows/fieldpost.wxs")
	if err != nil {
		return err
	}
	c := exec.Command("wixl", "-a", "x64", "-o", path,
		"-D", "Name="+p.name, "-D", "Version="+msiVersion(j.version), "-D", "Full="+j.version,
		"-D", "UpgradeCode="+p.upgradeCode, "-D", "Component="+p.component, source)
	c.Dir = stage // where it looks for the files
	if err := run(c); err != nil {
		return err
	}
	if err := finish(path, p, arch); err != nil {
		return err
	}
	if err := j.sign.sign(path, "Fieldpost "+p.name); err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

var numbers = regexp.MustCompile(`^v?(\d{1,3})\.(\d{1,3})\.(\d{1,5})`)

// msiVersion returns what an installer can say of a version: three numbers, by which
// it knows what is later. What follows them (-rc1) it does not compare.
func msiVersion(version string) string {
	m := numbers.FindStringSubmatch(version)
	if m == nil {
		return "0.0.0"
	}
	return strings.Join(m[1:], ".")
}

// run runs a program; what it says is in the error.
func run(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, out)
	}
	return nil
}
