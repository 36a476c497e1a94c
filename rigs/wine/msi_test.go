package wine

import (
	"archive/zip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const installed = `C:\Program Files\Fieldpost`

// installers builds what Windows is installed with, signed if there is a key.
func (m *machine) installers(version, cert, key string) (dir string) {
	m.t.Helper()
	dir = m.unix(`C:\dist ` + version)
	args := []string{"run", "./install/windows", "-version", version, "-out", dir, "-arch", "amd64", "-cert", cert, "-key", key, "-timestamp", ""}
	c := exec.Command("go", args...)
	c.Dir = "../.."
	if out, err := c.CombinedOutput(); err != nil {
		m.t.Fatalf("build the installers: %v\n%s", err, out)
	}
	return dir
}

// install has Windows Installer do something, without asking anybody.
func (m *machine) msiexec(args ...string) (string, error) {
	m.t.Helper()
	return m.tryFor(2*time.Minute, "msiexec.exe", append(args, "/qn")...)
}

// TestInstaller installs both programs by their MSIs, upgrades the agent with a
// signed one, and removes it: what it has stored stays.
func TestInstaller(t *testing.T) {
	needs(t, "wixl", "msibuild", "osslsigncode")
	m := boot(t)
	m.fresh()
	const v1, v2 = "v0.1.0", "v0.2.0"
	m.installers(v1, "", "")
	address := freeAddress(t)
	msi := func(name, version string) string {
		return `C:\dist ` + version + `\fieldpost-` + name + "-" + version[1:] + "-windows-amd64.msi"
	}
	if out, err := m.msiexec("/i", msi("collector", v1), "LISTEN="+address); err != nil {
		t.Fatalf("install the collector: %v\n%s", err, out)
	}
	t.Cleanup(func() { m.msiexec("/x", msi("collector", v1)) })
	collector, agent := installed+`\collector.exe`, installed+`\agent.exe`
	if out := m.run(collector, "service", "status"); !strings.Contains(out, "is running") {
		t.Fatalf("the collector: %s", out)
	}
	m.until("the collector to be open", 20*time.Second, func() bool {
		_, err := os.Stat(filepath.Join(m.unix(storeData), "control"))
		return err == nil
	})
	m.tryFor(3*time.Second, collector, "agents", "--dir", storeData) // see answers

	t.Log("a token that is no good: nothing is installed")
	refused, err := m.msiexec("/i", msi("agent", v1), "AGENTID=pump-9", "COLLECTOR="+address, "TOKEN=fpt_wrong")
	if _, serr := os.Stat(m.unix(agent)); err == nil || serr == nil {
		t.Errorf("installed with a wrong token: %v, %v\n%s", err, serr, refused)
	}
	must(t, os.RemoveAll(m.unix(agentData)))
	must(t, os.Remove(m.unix(agentYAML)))

	token := m.run(collector, "token", "create", "--dir", storeData, "--id", "pump-9", "--bare")
	if out, err := m.msiexec("/i", msi("agent", v1), "AGENTID=pump-9", "COLLECTOR="+address, "TOKEN="+token); err != nil {
		t.Fatalf("install the agent: %v\n%s", err, out)
	}
	t.Cleanup(func() { m.msiexec("/x", msi("agent", v1)) })
	m.answers(agentData)
	before := m.count(collector)
	m.run(agent, "send", "--dir", agentData, "--timeout", "20s", "from v1")
	m.storedAlso(collector, before+1)

	t.Log("upgraded, by an installer that is signed")
	cert, key := codeSigner(t)
	signed := m.installers(v2, cert, key)
	for _, path := range []string{filepath.Join(signed, "fieldpost-agent-0.2.0-windows-amd64.msi"), inZip(t, filepath.Join(signed, "fieldpost-0.2.0-windows-amd64.zip"), "agent.exe")} {
		if out, err := exec.Command("osslsigncode", "verify", "-CAfile", cert, "-in", path).CombinedOutput(); err != nil {
			t.Errorf("the signature of %s: %v\n%s", path, err, out)
		}
	}
	config, err := os.ReadFile(m.unix(agentYAML))
	must(t, err)
	if out, err := m.msiexec("/i", msi("agent", v2)); err != nil {
		t.Fatalf("upgrade the agent: %v\n%s", err, out)
	}
	t.Cleanup(func() { m.msiexec("/x", msi("agent", v2)) })
	if out := m.run(agent, "version"); !strings.Contains(out, v2) {
		t.Errorf("upgraded: %s", out)
	}
	m.answers(agentData)
	m.run(agent, "send", "--dir", agentData, "--timeout", "20s", "from v2")
	m.storedAlso(collector, before+2)
	if after, err := os.ReadFile(m.unix(agentYAML)); err != nil || string(after) != string(config) {
		t.Errorf("the configuration is now %s, %v", after, err)
	}

	t.Log("removed: the data stays")
	if out, err := m.msiexec("/x", msi("agent", v2)); err != nil {
		t.Fatalf("remove the agent: %v\n%s", err, out)
	}
	if _, err := os.Stat(m.unix(agent)); err == nil {
		t.Error("the program is left")
	}
	if out, err := m.try("reg", "query", `HKLM\SYSTEM\CurrentControlSet\Services\fieldpost-agent`); err == nil {
		t.Errorf("the service is left:\n%s", out)
	}
	for _, path := range []string{agentYAML, agentData + `\agent.json`, agentData + `\tls`} {
		if _, err := os.Stat(m.unix(path)); err != nil {
			t.Errorf("the data: %v", err)
		}
	}
	m.run(collector, "audit", "--dir", storeData)
}

// count returns how many messages the store of the services has.
func (m *machine) count(collector string) int {
	m.t.Helper()
	out, _ := m.try(collector, "export", "--dir", storeData)
	return strings.Count(out, `"body"`)
}

func (m *machine) storedAlso(collector string, n int) {
	m.t.Helper()
	m.until("the message to be stored", 40*time.Second, func() bool { return m.count(collector) == n })
}

// inZip unpacks a file of a zip that has all that it is to have.
func inZip(t *testing.T, path, name string) string {
	t.Helper()
	z, err := zip.OpenReader(path)
	must(t, err)
	defer z.Close()
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	if want := []string{"agent.exe", "collector.exe", "install.ps1", "LICENSE.txt", "WINDOWS.md"}; !slices.Equal(names, want) {
		t.Errorf("the zip has %q", names)
	}
	dir := t.TempDir()
	must(t, os.CopyFS(dir, z))
	return filepath.Join(dir, name)
}

// codeSigner makes a certificate that signs programs, and its key.
func codeSigner(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Fieldpost test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return cert, key
}
