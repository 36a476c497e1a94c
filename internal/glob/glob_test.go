package glob

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/var/log/*.log", "/var/log/a.log", true}, {"/var/log/*.log", "/var/log/x/a.log", false},
		{"/var/**/*.log", "/var/a.log", true}, {"/var/**/*.log", "/var/x/y/a.log", true}, {"/var/**/*.log", "/etc/a.log", false},
		{"/var/**/x/*.log", "/var/x/a.log", true}, {"/var/**/x/*.log", "/var/y/x/a.log", true}, {"/var/**/x/*.log", "/var/y/a.log", false},
	} {
		if got := Match(filepath.FromSlash(c.pattern), filepath.FromSlash(c.path)); got != c.want {
			t.Errorf("%s matches %s: %t", c.pattern, c.path, got)
		}
	}
	for _, bad := range []string{"", "/var/log/", "/var/**", "/**/a/**/b", "/var/a**/b", "/var/[a"} {
		if Check(bad) == nil {
			t.Errorf("%q is taken for a pattern", bad)
		}
	}
	for _, good := range []string{"/var/log/*.log", "/var/**/a-[0-9]?.log", "relative/*.log"} {
		if err := Check(good); err != nil {
			t.Error(err)
		}
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/x", "b/x", "b/[y]/x"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string][]string{
		"a/x/*.log":  {"a/x"},
		"*/x/*.log":  {"a/x", "b/x"},
		"**/x/*.log": {"a/x", "b/[y]/x", "b/x"},
		"b/**/*.log": {"b", "b/[y]", "b/[y]/x", "b/x"},
		"c/*.log":    nil,
	} {
		folders := map[string]bool{}
		if troubles := Folders(filepath.Join(dir, pattern), folders); len(troubles) > 0 {
			t.Error(troubles)
		}
		var got []string
		for _, d := range slices.Sorted(maps.Keys(folders)) {
			rel, _ := filepath.Rel(dir, d)
			got = append(got, filepath.ToSlash(rel))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
}
