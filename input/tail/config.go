package tail

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/wire"
)

// Rule says which files are read, and what becomes of them. A file is read by the
// first rule that it matches.
type Rule struct {
	Paths   []string // patterns, see CheckPattern; absolute
	Exclude []string // patterns of what is left out; without a separator of the name alone
	Topic   string   // of the messages; {file} is the file's name, {path} its path
	Lane    string   // "": by the routes

	FromEnd   bool          // files that are there when the rule is first used are read from their end
	Multiline Multiline     // which lines are one message
	MaxLine   int           // bytes of a message; what is longer is cut there. 0: what a message can hold
	Flush     time.Duration // how long the end of a quiet file is waited for. 0: DefaultFlush
}

// Config says what a Tail reads.
type Config struct {
	Rules  []Rule
	Poll   time.Duration // how often it looks at the files. 0: a second
	Logger *slog.Logger  // nil: nothing is logged

	quiet, search time.Duration // quietAfter and searchFor; tests have less patience
	scanned       func()        // called before what a scan has seen is followed, for tests; may be nil
}

// Limits.
const (
	maxFiles    = 5_000 // followed at once
	maxOpen     = 500   // descriptors
	workers     = 4     // files that are read at the same time,
	mostWorkers = 64    // and with those that wait for a lane that is full
	chunkBytes  = 1 << 20
	chunkLines  = 16 << 10
	turnChunks  = 8                      // after so many chunks another file has its turn
	quietAfter  = 2 * time.Second        // a renamed file without anything new is thought to be done
	closeAfter  = time.Minute            // and closed
	searchFor   = 3 * time.Second        // a file that is gone
	hintPause   = 100 * time.Millisecond // between two looks that the system asked for
	defaultPoll = time.Second
)

func (c Config) withDefaults() Config {
	if c.Poll == 0 {
		c.Poll = defaultPoll
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.quiet == 0 {
		c.quiet, c.search = quietAfter, searchFor
	}
	rules := make([]Rule, len(c.Rules))
	for i, r := range c.Rules {
		if r.Flush == 0 {
			r.Flush = DefaultFlush
		}
		r.Paths = slices.Clone(r.Paths)
		for k, p := range r.Paths {
			r.Paths[k] = filepath.Clean(p)
		}
		rules[i] = r
	}
	c.Rules = rules
	return c
}

// topic returns the topic for the messages of the file that was first seen at path.
func (r *Rule) topic(path string) string {
	s := strings.NewReplacer("{file}", filepath.Base(path), "{path}", strings.TrimPrefix(filepath.ToSlash(path), "/")).Replace(r.Topic)
	s = strings.ToValidUTF8(s, "?")
	for len(s) > wire.MaxTopic {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// most returns how many bytes a message with a topic may have.
func (r *Rule) most(topic string) int {
	encoded, _ := wire.AppendRecord(nil, &wire.Message{Topic: topic, Time: time.Unix(1, 0)})
	head, _, _ := wire.NextRecord(encoded)
	room := wire.MaxRecord - len(head)
	if r.MaxLine > 0 {
		room = min(room, r.MaxLine)
	}
	return room
}

// prefix is what the names of all sources begin with; an id and the path where the
// file was first seen follow.
const prefix = "file|"

func sourceName(id, path string) string { return prefix + id + "|" + path }

// pathOf returns the path where a source was first seen.
func pathOf(s *input.Source) string {
	_, rest, _ := strings.Cut(s.Name(), "|")
	_, path, _ := strings.Cut(rest, "|")
	return path
}
