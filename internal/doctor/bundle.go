package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"
)

// Part is a file of a bundle: what the program tells beside the report.
type Part struct {
	Name string // status.json
	What string // "the status of the agent", for the list

	// Get returns what is to be written as JSON. Only what it returns gets into the
	// bundle, so it chooses its fields; texts in them are scrubbed.
	Get func(ctx context.Context) (any, error)
}

// Contents are what a bundle is made of.
type Contents struct {
	Report Report
	Config string // path of the configuration, "" if there is none
	Unit   string // name of the service whose log is wanted, "": none
	Parts  []Part

	logs func(ctx context.Context, unit string, lines int) ([]byte, error) // for tests; nil: the system's
}

// Limits of a bundle.
const (
	maxPart  = 4 << 20 // bytes of a file
	maxLines = 2000    // of the log
	partTime = 20 * time.Second
)

// Entry is one file of a bundle as it was written.
type Entry struct {
	Name  string
	Bytes int
	What  string
}

// WriteBundle writes the archive to path, which must not be there yet, for its owner
// alone, and returns what is in it, in its order. Two bundles of the same things are
// equal but for times. It has no keys, tokens, certificates or messages: each file is
// made of fields that were chosen, and scrubbed.
func WriteBundle(ctx context.Context, path string, c Contents) (list []Entry, err error) {
	// Exclusive: a name that somebody has put there, a link above all, is not followed.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there already: name a file that is not", path)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle: %w; name a file in a folder where this user may write", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("bundle: %w", cerr)
		}
		if err != nil {
			os.Remove(path) // half of one is no use
		}
	}()
	list, err = c.write(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", path, err)
	}
	return list, nil
}

// write writes the archive to w.
func (c *Contents) write(ctx context.Context, w io.Writer) (list []Entry, err error) {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	folder := "fieldpost-" + c.Report.Program + "-doctor/"
	for _, file := range c.files(ctx) {
		data := file.data
		if len(data) > maxPart {
			data = append(data[:maxPart:maxPart], "\n(cut here)\n"...)
		}
		h := &tar.Header{Name: folder + file.Name, Mode: 0o600, Size: int64(len(data)), ModTime: c.Report.Time.Truncate(time.Second), Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(data); err != nil {
			return nil, err
		}
		list = append(list, Entry{file.Name, len(data), file.What})
	}
	return list, errors.Join(t.Close(), z.Close())
}

// content is a file of the bundle with what it holds.
type content struct {
	Part
	data []byte
}

// files returns all of them, in order.
func (c *Contents) files(ctx context.Context) (list []content) {
	add := func(name, what string, data []byte) { list = append(list, content{Part{Name: name, What: what}, data}) }
	r := c.Report
	r.Checks = append([]Result{}, r.Checks...)
	for i := range r.Checks {
		r.Checks[i].Detail = "" // it may quote the configuration
	}
	add("doctor.json", "what was checked", marshal(r))
	var text bytes.Buffer
	_ = r.Print(&text, false) // a buffer takes everything
	add("doctor.txt", "the same to read", []byte(Scrub(text.String())))
	add("version.json", "versions of the program and what it was built of", marshal(versions(&r)))
	add("system.json", "the machine: system, kernel, memory", marshal(machine(ctx)))
	if c.Config != "" {
		data, err := os.ReadFile(c.Config)
		if err != nil {
			data = fmt.Appendf(nil, "# not read: %s\n", withoutPath(err))
		} else {
			data = ConfigWithoutSecrets(data)
		}
		add("config.yaml", "the configuration: what may be a secret is removed", data)
	}
	for _, p := range c.Parts {
		within, cancel := context.WithTimeout(ctx, partTime)
		v, err := p.Get(within)
		cancel()
		if err != nil {
			v = map[string]any{"error": err.Error(), "partial": v}
		}
		add(p.Name, p.What, marshal(v))
	}
	if c.Unit != "" {
		add("log.txt", fmt.Sprintf("the last %d lines of the service's log at most, without what users' programs have said", maxLines), c.log(ctx))
	}
	return list
}

// marshal returns v as JSON, scrubbed; what cannot be written says so.
func marshal(v any) []byte {
	b, err := scrubJSON(v)
	if err != nil {
		b, _ = json.Marshal(map[string]string{"error": err.Error()}) // a map of texts can be written
	}
	return b
}

// log returns the last lines of the service's log.
func (c *Contents) log(ctx context.Context) []byte {
	get := c.logs
	if get == nil {
		get = serviceLog
	}
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	raw, err := get(ctx, c.Unit, maxLines)
	if err != nil {
		return fmt.Appendf(nil, "not read: %s\n", Scrub(err.Error()))
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	lines = lines[max(0, len(lines)-maxLines):]
	var out bytes.Buffer
	inside := false // of a PEM block, which is many lines
	for _, line := range lines {
		if strings.Contains(line, "-----BEGIN ") {
			inside = true
		}
		if inside {
			inside = !strings.Contains(line, "-----END ")
			out.WriteString(removed + "\n")
			continue
		}
		out.WriteString(scrubLog(line) + "\n")
	}
	// The newest lines matter most.
	if b := out.Bytes(); len(b) > maxPart {
		return b[len(b)-maxPart:]
	}
	return out.Bytes()
}

// versions says what the program is.
func versions(r *Report) any {
	type module struct {
		Path    string `json:"path"`
		Version string `json:"version"`
	}
	out := struct {
		Program string   `json:"program"`
		Version string   `json:"version"`
		Go      string   `json:"go"`
		System  string   `json:"system"`
		Build   []string `json:"build"`
		Modules []module `json:"modules"`
	}{Program: r.Program, Version: r.Version, Go: runtime.Version(), System: r.System}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, s := range info.Settings {
		switch s.Key { // the others may name paths of the machine where it was built
		case "GOOS", "GOARCH", "GOARM", "CGO_ENABLED", "-trimpath", "-tags", "vcs.revision", "vcs.time", "vcs.modified":
			out.Build = append(out.Build, s.Key+"="+s.Value)
		}
	}
	for _, m := range info.Deps {
		out.Modules = append(out.Modules, module{m.Path, m.Version})
	}
	return out
}

// machine says what the program runs on. What cannot be had is left out.
func machine(ctx context.Context) any {
	out := struct {
		OS        string    `json:"os"`
		Arch      string    `json:"arch"`
		Platform  string    `json:"platform,omitempty"`
		Release   string    `json:"release,omitempty"`
		Kernel    string    `json:"kernel,omitempty"`
		Virtual   string    `json:"virtual,omitempty"`
		Booted    time.Time `json:"booted,omitzero"`
		CPUs      int       `json:"cpus"`
		Memory    uint64    `json:"memory_bytes,omitempty"`
		Available uint64    `json:"memory_available_bytes,omitempty"`
		Zone      string    `json:"time_zone"`
	}{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	out.Zone, _ = time.Now().Zone()
	if h, err := host.InfoWithContext(ctx); err == nil {
		out.Platform, out.Release, out.Kernel, out.Virtual = h.Platform, h.PlatformVersion, h.KernelVersion, h.VirtualizationSystem
		if h.BootTime > 0 {
			out.Booted = time.Unix(int64(h.BootTime), 0).UTC()
		}
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		out.Memory, out.Available = m.Total, m.Available
	}
	return out
}
