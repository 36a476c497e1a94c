package lanes

import (
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestFilterMatch(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a/b", "a/b/c", false}, {"a", "a/b", false},
		{"#", "", true}, {"#", "a/b/c", true}, {"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "ab", false}, {"a/#", "b", false},
		{"+", "a", true}, {"+", "", true}, {"+", "a/b", false}, {"+/+", "a/b", true}, {"+/+", "/b", true}, {"/+", "/b", true}, {"+", "/b", false},
		{"a/+/c", "a/b/c", true}, {"a/+/c", "a//c", true}, {"a/+/c", "a/c", false}, {"a/+/#", "a", false}, {"a/+/#", "a/b", true},
		{"a/", "a/", true}, {"a/", "a", false}, {"a", "a/", false}, {"+/", "a/", true}, {"/", "/", true}, {"/", "", false}, {"#", "$SYS/a", true}, {"+/a", "$SYS/a", true}, {"a/b/#", "a", false}, {"ä/+", "ä/ö", true},
	} {
		f, err := ParseFilter(c.filter)
		if err != nil || f.Match(c.topic) != c.want {
			t.Errorf("%q matches %q: %t (%v), want %t", c.filter, c.topic, !c.want, err, c.want)
		}
	}
	for _, bad := range []string{"", "#/a", "a#", "a/b+", "++", "a/#/b", "a\xff", strings.Repeat("a", 1025)} {
		if _, err := ParseFilter(bad); err == nil {
			t.Errorf("ParseFilter(%q) has no error", bad)
		}
	}
}

func TestLaneOfTopic(t *testing.T) {
	routes := Routes{{"a/#", "first"}, {"a/b", "second"}, {"+", "third"}}
	for topic, want := range map[string]string{"a/b": "first", "a": "first", "c": "third", "": "third", "c/d": "default"} {
		if got := routes.Lane(topic); got != want {
			t.Errorf("Lane(%q) = %s, want %s", topic, got, want)
		}
	}
}

// matches is Match by levels, the slow and plain way.
func matches(filter, topic []string) bool {
	switch {
	case len(filter) == 0:
		return len(topic) == 0
	case filter[0] == "#":
		return true
	case len(topic) == 0:
		return false
	}
	return (filter[0] == "+" || filter[0] == topic[0]) && matches(filter[1:], topic[1:])
}

// FuzzFilter compares Match with the plain way.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"a/b", "a/#", "+/+", "#", "a//+", "/", "+/b/#", "a/+b", "$SYS/#"} {
		f.Add(s, "a/b")
		f.Add(s, "/")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		p, err := ParseFilter(filter)
		if err != nil {
			return
		}
		if want := matches(strings.Split(filter, "/"), strings.Split(topic, "/")); p.Match(topic) != want {
			t.Errorf("%q matches %q: %t", filter, topic, !want)
		}
		if !strings.ContainsAny(filter, "+#") && p.Match(filter) == false {
			t.Errorf("%q does not match itself", filter)
		}
	})
}

func TestNames(t *testing.T) {
	for _, name := range []string{"default", "alarms", "CON", "nul", "com1", "a.b", ".hidden", "-", "_", "Alarms"} {
		if err := Check(name, "default", name, "other"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"": "want 1 to 64", "a b": "is not one of", "..": "reserved", "a.": "name it a", "a..": "name it a", "...": "name it otherwise",
		"Default": "there is a lane default", "DEFAULT": "use one spelling",
	} {
		if err := Check(name, "default"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	if err := CheckAll([]string{"a", "b", "A", "c.", "B"}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("CheckAll: %v, want three errors", err)
	}
}

func BenchmarkRoutes(b *testing.B) {
	var routes Routes
	for _, s := range []string{"alarm/#", "+/alarm/#", "camera/+/frame", "plant/pump-7/temp"} {
		routes = append(routes, Route{Filter(s), "x"})
	}
	b.ReportAllocs()
	for b.Loop() {
		routes.Lane("plant/pump-7/pressure")
	}
}
