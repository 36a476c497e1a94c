package lanes

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

// Filter matches topics as MQTT does: levels are divided by "/", "+" stands for
// one whole level, "#" as the last level for all that follow and none. Topics that
// begin with "$" are topics like others.
type Filter string

// ParseFilter checks a filter.
func ParseFilter(s string) (Filter, error) {
	if s == "" || len(s) > wire.MaxTopic || !utf8.ValidString(s) {
		return "", fmt.Errorf("topic filter %.80q: want UTF-8 of 1 to %d bytes, have %d", s, wire.MaxTopic, len(s))
	}
	levels := strings.Split(s, "/")
	for i, level := range levels {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return "", fmt.Errorf("topic filter %.80q: + and # stand for whole levels, as in a/+/b or a/#", s)
		}
		if level == "#" && i < len(levels)-1 {
			return "", fmt.Errorf("topic filter %.80q: # can only be the last level", s)
		}
	}
	return Filter(s), nil
}

// Match reports whether topic is one of those f stands for. f has been checked.
func (f Filter) Match(topic string) bool {
	filter, left := string(f), true // left: topic has a level to match
	for filter != "" || left {
		level, rest, more := strings.Cut(filter, "/")
		if level == "#" && !more {
			return true
		}
		if !left {
			return false
		}
		have, tail, moreTopic := strings.Cut(topic, "/")
		if level != "+" && level != have {
			return false
		}
		if !more {
			return !moreTopic
		}
		filter, topic, left = rest, tail, moreTopic
		if filter == "" && !left { // the filter ends with an empty level, the topic does not have it
			return false
		}
	}
	return false
}

// Route sends the messages of some topics to a lane.
type Route struct {
	Topic Filter
	Lane  string
}

// Routes are asked in turn.
type Routes []Route

// Lane returns the lane for a topic: of the first route that matches it, or the
// default lane.
func (list Routes) Lane(topic string) string {
	for _, r := range list {
		if r.Topic.Match(topic) {
			return r.Lane
		}
	}
	return string(wire.DefaultLane)
}
