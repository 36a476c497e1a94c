package export

// Glob matches topics: "*" stands for any characters but "/", "**" for any
// characters, "?" for one that is not "/". "" as a filter matches all topics.
type Glob string

// Match reports whether all of topic is what g stands for. It takes time
// proportional to the product of their lengths at most.
func (g Glob) Match(topic string) bool {
	var parts []part
	for i := 0; i < len(g); i++ {
		switch {
		case g[i] == '*' && i+1 < len(g) && g[i+1] == '*':
			parts = append(parts, part{many: true, any: true})
			i++
		case g[i] == '*':
			parts = append(parts, part{many: true})
		case g[i] == '?':
			parts = append(parts, part{one: true})
		default:
			parts = append(parts, part{char: g[i]})
		}
	}
	// at[i]: what has been read of the topic is matched by the first i parts.
	at, next := make([]bool, len(parts)+1), make([]bool, len(parts)+1)
	at[0] = true
	skip(parts, at)
	for i := range len(topic) {
		clear(next)
		for j, p := range parts {
			if at[j] && p.takes(topic[i]) {
				// Only the first byte of a character moves "?" on.
				next[j+1] = next[j+1] || !p.many
				next[j] = next[j] || p.many
			}
			if p.one && at[j+1] && topic[i]&0xc0 == 0x80 {
				next[j+1] = true
			}
		}
		skip(parts, next)
		at, next = next, at
	}
	return at[len(parts)]
}

// part is one part of a glob.
type part struct {
	many, any bool // "*", "**"
	one       bool // "?"
	char      byte
}

func (p part) takes(c byte) bool {
	switch {
	case p.many:
		return p.any || c != '/'
	case p.one:
		return c != '/' && c&0xc0 != 0x80
	}
	return c == p.char
}

// skip adds what is reached without reading: a star may stand for nothing.
func skip(parts []part, at []bool) {
	for j, p := range parts {
		at[j+1] = at[j+1] || at[j] && p.many
	}
}
