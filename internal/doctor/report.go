package doctor

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/user"
	"runtime"
	"time"
)

// SchemaVersion is that of the report's JSON. Keys may be added under one version.
const SchemaVersion = 1

// Report is what a run found. Its JSON is stable.
type Report struct {
	Schema  int       `json:"schema"`
	Program string    `json:"program"` // agent or collector
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"` // the run took
	Host    string    `json:"host"`
	System  string    `json:"system"` // linux/amd64
	User    string    `json:"user"`   // who ran it
	Dir     string    `json:"dir"`
	Config  string    `json:"config,omitempty"` // the file
	Status  Status    `json:"status"`           // the worst of all
	Counts  Counts    `json:"counts"`
	Checks  []Result  `json:"checks"`
}

// Counts says how many lines there are of each status.
type Counts struct {
	OK   int `json:"ok"`
	Warn int `json:"warn"`
	Fail int `json:"fail"`
}

// Examine runs the checks within Limit and reports. The caller has set who is
// examined in r: program, version, folder, configuration.
func Examine(ctx context.Context, r Report, checks []Check) Report {
	r.Schema, r.Time, r.System, r.User = SchemaVersion, time.Now().Round(0), runtime.GOOS+"/"+runtime.GOARCH, username()
	r.Host, _ = os.Hostname() // for people
	began := time.Now()
	r.Checks = Run(ctx, Limit, checks)
	r.Seconds = time.Since(began).Seconds()
	r.Status, r.Counts = OK, Counts{}
	for _, c := range r.Checks {
		r.Status = max(r.Status, c.Status)
		switch c.Status {
		case OK:
			r.Counts.OK++
		case Warn:
			r.Counts.Warn++
		default:
			r.Counts.Fail++
		}
	}
	return r
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// username is the name of who runs this, else the number.
func username() string {
	u, err := user.Current()
	if err != nil {
		return "unknown"
	}
	return u.Username
}
