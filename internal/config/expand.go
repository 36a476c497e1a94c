package config

import (
	"fmt"
	"strings"
)

// Lookup returns the value of an environment variable and whether it is set, as
// os.LookupEnv does.
type Lookup func(name string) (string, bool)

// expand replaces ${NAME} and ${NAME:-default} in s by what env knows, and $$ by
// a dollar sign. A variable that is set but empty takes the default as well, as
// in a shell. A dollar sign before anything else stands for itself. What comes
// out of a variable or a default is not expanded again.
func expand(s string, env Lookup) (string, error) {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			out.WriteString(s)
			return out.String(), nil
		}
		out.WriteString(s[:i])
		switch s[i+1] {
		case '$':
			out.WriteByte('$')
			s = s[i+2:]
		case '{':
			inner, rest, ok := strings.Cut(s[i+2:], "}")
			if !ok {
				return "", fmt.Errorf("%.40q has no closing brace; write $$ for a dollar sign", s[i:])
			}
			name, fallback, has := strings.Cut(inner, ":-")
			if !isVariable(name) {
				return "", fmt.Errorf("%.40q is not a variable; write ${NAME} or ${NAME:-default}, and $$ for a dollar sign", "${"+inner+"}")
			}
			value, set := env(name)
			switch {
			case set && (value != "" || !has):
				out.WriteString(value)
			case has:
				out.WriteString(fallback)
			default:
				return "", fmt.Errorf("the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
			}
			s = rest
		default:
			out.WriteByte('$')
			s = s[i+1:]
		}
	}
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
