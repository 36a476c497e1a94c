package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// removed stands where something was taken out.
const removed = "(removed)"

// shapes are what secrets look like, wherever they turn up. It is the second line: the
// first is that only what is listed gets into a bundle.
var shapes = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----(?s:.*?)(?:-----END [A-Z0-9 ]+-----|\z)`), removed},
	{regexp.MustCompile(`fp[a-z]_[A-Za-z0-9_-]+`), removed},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}`), "$1 " + removed},
	{regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/\s@"']+@`), "$1" + removed + "@"},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), removed},
	{regexp.MustCompile(`\bAKIA[0-9A-Z]{12,}`), removed},
	{regexp.MustCompile(`(?i)([a-z0-9_-]*(?:password|passwd|passphrase|pwd|secret|token|api_?key|authorization|credential)[a-z0-9_-]*\s*[=:]\s*)(?:\\?"[^"]*"|'[^']*'|[^\s,;"']+)`), "${1}" + removed},
	{regexp.MustCompile(`[A-Za-z0-9+_-]{44,}={0,2}`), removed},
}

// Scrub takes out of a text what has the shape of a secret: tokens, keys in PEM, names
// with passwords in addresses, what follows "password=".
func Scrub(s string) string {
	for _, shape := range shapes {
		s = shape.what.ReplaceAllString(s, shape.with)
	}
	return s
}

// scrubJSON returns v as JSON with every text scrubbed.
func scrubJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(b) > maxPart {
		return nil, fmt.Errorf("left out: %d bytes, a part of a bundle has at most %d", len(b), maxPart)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	err = e.Encode(scrubTree(tree))
	return out.Bytes(), err
}

func scrubTree(v any) any {
	switch v := v.(type) {
	case string:
		return Scrub(v)
	case []any:
		for i := range v {
			v[i] = scrubTree(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = scrubTree(v[k])
		}
	}
	return v
}

// shown are the keys of both configurations whose values get into a bundle; * is any
// key. What is not here is there with its name alone: topics, commands, patterns, and
// whatever a slip has made a key of.
var shown = pathsOf(`
id dir collectors heartbeat.interval insecure_plaintext log.level log.format
reconnect.min reconnect.max reconnect.max_attempts
lanes.*.priority lanes.*.share lanes.*.max_bytes lanes.*.max_messages lanes.*.max_age lanes.*.free_space
lanes.*.overflow lanes.*.durability lanes.*.live_first lanes.*.compression lanes.*.segment_size
routes.lane inputs.stdin.lane inputs.file.paths inputs.file.exclude inputs.file.lane inputs.file.start inputs.file.max_line inputs.file.flush
inputs.host.lane inputs.host.interval inputs.host.only inputs.exec.lane inputs.exec.interval inputs.exec.timeout
tls.ca tls.cert tls.server_name tls.names tls.certificate_life
listen http replaces retention.age retention.size
limits.agents limits.streams
`)

func pathsOf(text string) map[string]bool {
	m := map[string]bool{}
	for _, p := range strings.Fields(text) {
		m[p] = true
	}
	return m
}

// plainValue is what a value that is shown may look like.
var plainValue = regexp.MustCompile(`^[\w .:/\\\[\]{}$*?%+-]{0,200}$`)

// ConfigWithoutSecrets returns a configuration in YAML with only those values that
// cannot be secrets. ${VAR} stays as it is written. What is no YAML is left out whole.
func ConfigWithoutSecrets(data []byte) []byte {
	var tree yaml.MapSlice
	if err := parseYAML(data, &tree); err != nil {
		return []byte("# left out: it is not valid YAML\n")
	}
	out, err := yaml.Marshal(withoutSecrets(tree, ""))
	if err != nil {
		return []byte("# left out: it cannot be written again\n")
	}
	return out
}

// parseYAML reads data; even a panic of the parser, which is not ours, is an error.
func parseYAML(data []byte, to any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not valid YAML: %v", r)
		}
	}()
	return yaml.UnmarshalWithOptions(data, to, yaml.UseOrderedMap())
}

// withoutSecrets returns what may be shown of the value at a path; lists do not count
// in paths.
func withoutSecrets(v any, path string) any {
	switch v := v.(type) {
	case yaml.MapSlice:
		out := make(yaml.MapSlice, 0, len(v))
		for _, item := range v {
			key := fmt.Sprint(item.Key)
			name := Scrub(key)
			if !plainValue.MatchString(key) {
				name = removed
			}
			out = append(out, yaml.MapItem{Key: name, Value: withoutSecrets(item.Value, below(path, key))})
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = withoutSecrets(v[i], path)
		}
		return out
	case nil:
		return nil
	}
	text := fmt.Sprint(v)
	if !shown[path] || !plainValue.MatchString(text) {
		return removed
	}
	if s := Scrub(text); s != text {
		return s
	}
	return v
}

// below is the path of a key; a lane's name is *.
func below(path, key string) string {
	switch path {
	case "":
		return key
	case "lanes":
		return "lanes.*"
	}
	return path + "." + key
}

// attribute is one key=value of a line of the log.
var attribute = regexp.MustCompile(`([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)`)

// trace are lines of a crash's trace: they name functions and addresses, no data.
var trace = regexp.MustCompile(`^(panic: |fatal error: |unexpected fault address|goroutine \d+|\[signal |runtime\.|created by |[\w./*()]+\(.*\)$|\s+/?[\w./@-]+\.go:\d+)`)

// logPrefix is what journalctl -o short-iso puts before a message.
var logPrefix = regexp.MustCompile(`^(\S+ )\S+ ([\w@.-]+)(\[\d+\])?: `)

// longestLine is how much of a line of the log is kept.
const longestLine = 2 << 10

// scrubLog returns a line of the log without what users' programs have said, and
// without the shapes of secrets. A line that is neither the daemon's nor the service
// system's is left out but for its time.
func scrubLog(line string) string {
	line = line[:min(len(line), longestLine)]
	prefix, message, ident := "", line, ""
	if m := logPrefix.FindStringSubmatch(line); m != nil {
		prefix, message, ident = m[1]+m[2]+": ", line[len(m[0]):], m[2]
	}
	switch {
	case ident == "systemd", trace.MatchString(message):
	case strings.Contains(message, "msg="):
		foreign := strings.Contains(message, "command")
		message = attribute.ReplaceAllStringFunc(message, func(a string) string {
			key, _, _ := strings.Cut(a, "=")
			if key == "line" || key == "topic" || foreign && (key == "error" || key == "err" || key == "why" || key == "cause") {
				return key + "=" + removed
			}
			return a
		})
	case message != "":
		message = removed
	}
	return prefix + Scrub(message)
}
