package guard

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fieldpost/fieldpost"

// root is the module's folder.
var root = filepath.Join("..", "..")

// pkg is one package of ours as its files say.
type pkg struct {
	imports map[string]bool // of the files that are no tests; ours by their folder, e.g. "wire"
	docs    []string        // files with a package comment
	name    string
	spawns  []string // where a goroutine is started
	tests   bool     // it has nothing but tests
}

// tree is all packages of the module, by folder.
type tree map[string]*pkg

// readTree reads every Go file below dir but those of nested modules.
func readTree(t *testing.T, dir string) tree {
	t.Helper()
	all := tree{}
	fset := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(dir), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := path.Base(file)
			_, err := os.Stat(filepath.Join(dir, file, "go.mod"))
			if file != "." && (err == nil || base == "testdata" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(file) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, filepath.Join(dir, file), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all.add(file, f, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (all tree) add(file string, f *ast.File, fset *token.FileSet) {
	folder, test := path.Dir(file), strings.HasSuffix(file, "_test.go")
	p := all[folder]
	if p == nil {
		p = &pkg{imports: map[string]bool{}, tests: true}
		all[folder] = p
	}
	if test && !p.tests || strings.HasSuffix(f.Name.Name, "_test") {
		return
	}
	if !test && p.tests { // what was seen until now is of tests
		*p = pkg{imports: map[string]bool{}}
	}
	p.name = f.Name.Name
	if f.Doc != nil {
		p.docs = append(p.docs, path.Base(file))
	}
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			p.imports[strings.TrimPrefix(name, module+"/")] = true
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.GoStmt); ok {
			p.spawns = append(p.spawns, fset.Position(s.Pos()).String())
		}
		return true
	})
}

// ours are the packages of the module that p imports itself, in order.
func (all tree) ours(p string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(all[p].imports)) {
		if all[name] != nil {
			list = append(list, name)
		}
	}
	return list
}

// chains returns every package that p imports, directly or not, with one way
// that leads there.
func (all tree) chains(p string) map[string]string {
	found := map[string]string{}
	var visit func(p, way string)
	visit = func(p, way string) {
		for name := range all[p].imports {
			if _, seen := found[name]; !seen {
				found[name] = way + " -> " + name
				if all[name] != nil {
					visit(name, found[name])
				}
			}
		}
	}
	visit(p, p)
	return found
}

// matches reports whether a folder is pattern, or below it if pattern ends in
// "/...".
func matches(pattern, folder string) bool {
	if above, ok := strings.CutSuffix(pattern, "/..."); ok {
		return folder == above || strings.HasPrefix(folder, above+"/")
	}
	return folder == pattern
}

// goTool runs the go command in the module's folder and returns what it prints.
func goTool(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, errs.Bytes())
	}
	return string(out)
}
