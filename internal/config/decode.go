package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxFile is the most bytes a file may have.
const MaxFile = 1 << 20

// decoder walks the nodes of one file, gives each value to the field that its
// key names, and collects what is wrong.
type decoder struct {
	file     string
	lines    []string
	env      Lookup
	problems Problems
	later    []func() // checks of what may be given further down
}

// field takes the value at a key, or notes what is wrong with it. path names the
// key in messages.
type field func(n ast.Node, path string)

// fields are the keys of a mapping.
type fields map[string]field

// decode parses data and gives its values to top's fields; then, unless it is
// nil, after looks at what belongs together. The problems are in file order.
func (d *decoder) decode(data []byte, top fields, after func()) {
	d.lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	if len(data) > MaxFile {
		d.problems = append(d.problems, Problem{File: d.file, Message: fmt.Sprintf("above %d bytes, the limit of a configuration", MaxFile)})
		return
	}
	file, err := parse(data)
	if err != nil {
		d.syntax(err)
		return
	}
	bodies := slices.DeleteFunc(file.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	switch {
	case len(bodies) > 1:
		d.fail(bodies[1].Body, "", "a second document; a configuration is one")
	case len(bodies) == 1:
		d.mapping(bodies[0].Body, "", top)
		if after != nil {
			after()
		}
	}
	sort.SliceStable(d.problems, func(i, j int) bool {
		a, b := d.problems[i], d.problems[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
}

// parse calls the YAML parser, which is not ours, so that even a panic in it is
// an error in the file.
func parse(data []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not valid YAML: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func (d *decoder) syntax(err error) {
	p := Problem{File: d.file, Message: "not valid YAML: " + Printable(err.Error())}
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
		pos := at.GetToken().Position
		p.Message = "not valid YAML: " + Printable(at.GetMessage())
		p.Line, p.Column = pos.Line, pos.Column
		p.Snippet = snippet(d.lines, p.Line, p.Column)
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) fail(n ast.Node, path, format string, args ...any) {
	p := Problem{File: d.file, Key: path, Message: fmt.Sprintf(format, args...)}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // the node's own token is the colon behind it
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.Line, p.Column = t.Position.Line, t.Position.Column
		p.Snippet = snippet(d.lines, p.Line, p.Column)
	}
	d.problems = append(d.problems, p)
}

// entry is a key and its value.
type entry struct {
	name  string
	key   ast.Node
	value ast.Node
}

// entries returns the entries of a mapping, in order and each key once. Nothing
// below a key is an empty mapping, so that all of a section can be commented out.
func (d *decoder) entries(n ast.Node, path string) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil, true
	default:
		d.fail(n, path, "want keys and values below it, have %s", kind(n))
		return nil, false
	}
	var list []entry
	seen := map[string]int{}
	for _, v := range values {
		e := entry{name: v.Key.GetToken().Value, key: v.Key, value: v.Value}
		if line, ok := seen[e.name]; ok {
			d.fail(v.Key, join(path, e.name), "given twice, first on line %d", line)
			continue
		}
		seen[e.name] = v.Key.GetToken().Position.Line
		list = append(list, e)
	}
	return list, true
}

// mapping reads a mapping whose keys are known.
func (d *decoder) mapping(n ast.Node, path string, known fields) {
	list, _ := d.entries(n, path)
	for _, e := range list {
		f, ok := known[e.name]
		if !ok {
			names := slices.Sorted(maps.Keys(known))
			hint := "known here: " + strings.Join(names, ", ")
			if near := nearest(e.name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			d.fail(e.key, join(path, e.name), "unknown key; %s", hint)
			continue
		}
		f(e.value, join(path, e.name))
	}
}

// record makes a field of a mapping that needs all of its keys.
func (d *decoder) record(known fields) field {
	return func(n ast.Node, path string) {
		before := len(d.problems)
		d.mapping(n, path, known)
		if len(d.problems) > before {
			return // a slip in a key is enough to hear of
		}
		list, _ := d.entries(n, path)
		for _, key := range slices.Sorted(maps.Keys(known)) {
			if !slices.ContainsFunc(list, func(e entry) bool { return e.name == key }) {
				d.fail(n, path, "%s is missing", key)
			}
		}
	}
}

// section makes a field of a mapping whose keys are known.
func (d *decoder) section(known fields) field {
	return func(n ast.Node, path string) { d.mapping(n, path, known) }
}

// named makes a field of a mapping whose keys are names of the user's; each is
// given to value with its entry.
func (d *decoder) named(value func(e entry, path string)) field {
	return func(n ast.Node, path string) {
		list, _ := d.entries(n, path)
		for _, e := range list {
			value(e, join(path, e.name))
		}
	}
}

// list makes a field of a sequence.
func (d *decoder) list(item field) field {
	return func(n ast.Node, path string) {
		switch n := n.(type) {
		case *ast.SequenceNode:
			for i, v := range n.Values {
				item(v, fmt.Sprintf("%s[%d]", path, i))
			}
		case *ast.NullNode:
		default:
			d.fail(n, path, "want a list, have %s; write [a, b] or one \"- a\" a line", kind(n))
		}
	}
}

// scalar makes a field of a single value: set gets its text after expansion.
func (d *decoder) scalar(set func(s string) error) field {
	return func(n ast.Node, path string) {
		text, ok := scalarText(n)
		if !ok {
			d.fail(n, path, "want one value, have %s", kind(n))
			return
		}
		text, err := expand(text, d.env)
		if err == nil {
			err = set(text)
		}
		if err != nil {
			d.fail(n, path, "%s", Printable(err.Error()))
		}
	}
}

// scalarText returns a scalar as it stands in the file, without its quotes: what
// YAML would make of 007, yes or 1e3 is of no interest here.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode, *ast.CommentGroupNode:
		return "nothing; give a value or leave the key out"
	case *ast.AnchorNode, *ast.AliasNode:
		return "a YAML anchor; write the value itself"
	case *ast.TagNode:
		return "a YAML tag; write the value without it"
	}
	return "one value"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Nearest returns the name that s is most likely a slip of, "" if none is near.
func Nearest(s string, names []string) string { return nearest(s, names) }

// nearest returns the name that s is most likely a slip of, "" if none is near.
func nearest(s string, names []string) string {
	best, at := 3, ""
	for _, name := range names {
		if n := distance(s, name); n < best && n < len(name) {
			best, at = n, name
		}
	}
	return at
}

// distance is the number of bytes to insert, delete or replace to make b of a
// (Levenshtein), for short words; longer ones are far from everything.
func distance(a, b string) int {
	if len(a) > 32 || len(b) > 32 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left = row[j+1]
			row[j+1] = min(cost, left+1, row[j]+1)
		}
	}
	return row[len(b)]
}
