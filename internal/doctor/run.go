package doctor

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Limit is how long a run may take in all.
const Limit = 15 * time.Second

// Result is a finding with the check that it is of. Its JSON is stable.
type Result struct {
	Group   string  `json:"group"`
	Check   string  `json:"check"`
	About   string  `json:"about,omitempty"`
	Status  Status  `json:"status"`
	Text    string  `json:"text"`
	Next    string  `json:"next,omitempty"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"` // that the check took
}

// outcome is what became of a check; it is good once done is closed.
type outcome struct {
	done     chan struct{}
	findings []Finding
	took     time.Duration
}

// bars reports whether what needs the check is not to be made.
func (o *outcome) bars() bool {
	return slices.ContainsFunc(o.findings, func(f Finding) bool { return f.Status == Fail || f.Blind })
}

// Run makes all checks, those that need none of the others at once, and returns what
// they found in the order of the checks. It ends within limit, or when ctx does: what
// has no answer by then has failed. Checks that hang are left behind.
//
// Keys must differ, and what a check needs must stand before it; keys that no check
// has are passed over.
func Run(ctx context.Context, limit time.Duration, checks []Check) []Result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	outcomes := make([]*outcome, len(checks))
	byKey := map[string]*outcome{}
	for i := range checks {
		o := &outcome{done: make(chan struct{})}
		before := func(keys []string) (list []*outcome, names []string) {
			for _, k := range keys {
				if b := byKey[k]; b != nil {
					list, names = append(list, b), append(names, k)
				}
			}
			return list, names
		}
		after, _ := before(checks[i].After)
		needs, names := before(checks[i].Needs)
		outcomes[i], byKey[checks[i].Key()] = o, o
		go func(c *Check) {
			defer close(o.done)
			for _, b := range append(after, needs...) {
				<-b.done // within the limit
			}
			var failed []string
			for k, b := range needs {
				if b.bars() {
					failed = append(failed, names[k])
				}
			}
			if failed != nil {
				o.findings = []Finding{Unseen(mendFirst, "not checked, because of: %s", strings.Join(failed, ", "))}
				return
			}
			began := time.Now()
			o.findings = c.within(ctx)
			o.took = time.Since(began)
		}(&checks[i])
	}
	var list []Result
	for i, o := range outcomes {
		<-o.done
		for _, f := range o.findings {
			about := f.About
			if about == "" {
				about = checks[i].About
			}
			list = append(list, Result{checks[i].Group, checks[i].Name, about, f.Status, f.Text, f.Next, f.Detail, o.took.Seconds()})
		}
	}
	return list
}

// within runs the check and returns what it found, or that it has not answered in
// time. A panic is a finding: one bad check must not hide the others.
func (c *Check) within(ctx context.Context) []Finding {
	limit := c.Time
	if limit == 0 {
		limit = checkTime
	}
	if ctx.Err() != nil {
		return []Finding{Doubt("run this again once what took so long is mended", "not checked, because others took all the time there is")}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	found := make(chan []Finding, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				f := Bad("please report this", "the check itself failed: %v", r)
				f.Detail = string(debug.Stack())
				found <- []Finding{f}
			}
		}()
		list := c.Run(ctx)
		if len(list) == 0 {
			list = []Finding{Good("as it should be")}
		}
		found <- list
	}()
	select {
	case list := <-found:
		return list
	case <-ctx.Done():
	}
	// One that heeds its context says more than that it was late.
	select {
	case list := <-found:
		return list
	case <-time.After(200 * time.Millisecond):
		return []Finding{Bad(hangs, "no answer within %s", time.Since(began).Round(100*time.Millisecond))}
	}
}

// mendFirst is the next step of what was not checked; print leaves it out, for the line
// says it.
const mendFirst = "mend that first, then run this again"

const hangs = "what it looks at hangs (a dead network file system, a stuck disk or daemon): look there first"
